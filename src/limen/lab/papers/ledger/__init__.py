"""The ledger: every claim of the papers, what tests it, and what the stored rows say about it."""

from limen.lab.papers.ledger.claim import Claim, Ledger, Paper, load
from limen.lab.papers.ledger.judging import NOT_TESTED, VERDICTS, Entry, judge

__all__ = ["NOT_TESTED", "VERDICTS", "Claim", "Entry", "Ledger", "Paper", "judge", "load"]
