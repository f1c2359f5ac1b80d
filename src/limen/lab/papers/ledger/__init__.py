"""The ledger: every claim of the papers, what tests it, and what the stored rows say about it."""

from typing import TYPE_CHECKING

from limen.lazily import attributes

if TYPE_CHECKING:
    from limen.lab.papers.ledger.claim import Claim, Ledger, Paper, load
    from limen.lab.papers.ledger.judging import NOT_TESTED, VERDICTS, Entry, judge
else:
    __getattr__, __dir__ = attributes(
        __name__,
        {
            **dict.fromkeys(("Claim", "Ledger", "Paper", "load"), "claim"),
            **dict.fromkeys(("NOT_TESTED", "VERDICTS", "Entry", "judge"), "judging"),
        },
    )

__all__ = ["NOT_TESTED", "VERDICTS", "Claim", "Entry", "Ledger", "Paper", "judge", "load"]
