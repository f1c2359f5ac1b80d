"""The ledger as a page in Markdown, grouped by paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from limen.lab.papers.ledger.claim import Ledger
from limen.lab.papers.ledger.judging import EQUIVALENT, VERDICTS, Entry
from limen.lab.report.growth import growth
from limen.lab.report.markdown import paragraph, table
from limen.lab.report.wording import counted
from limen.lab.study.command import whole_command
from limen.lab.study.rows import Rows

EXPLANATION = """\
Every claim of the four papers that we know of, what tests it here, and what the stored rows say. Made by `limen claims
--markdown`; the rows lie in [rows/](rows/), written by `limen report DIR --store docs/results/rows`.

**Confirmed** and **contradicted** mean that a difference is detected in the claimed direction or against it;
**equivalent**, that there is none as large as the margin named beside it (half a point of what is in percent);
**undecided**, that the seeds leave all of it open, with the smallest difference that they show in 80 of 100 studies,
after the correction; **not tested here** says why. A claim is tested on the data that are here, seldom the paper's own,
at the scale that its row names; a verdict holds for that scale.

Numbers are means over seeds with 95 % intervals (Student's t); differences are paired by seed, and the p values of all
comparisons that the claims of one recipe need are corrected together (Holm), and those of their equivalence (two
one-sided tests) among themselves. *Honest*: the test score of the epoch that held-out examples chose. *As the paper*:
the best test score of any epoch, so that the test set chooses. Weights of layers are judged by their intervals, one
layer at a time. Accuracies and other fractions are in percent and points.

Claims about epochs compare after how many of them two networks first have the held-out loss that both reach. Claims
about a formula are computed, without data, whenever this page is made; they are counted apart.
"""


def markdown(ledger: Ledger, entries: Sequence[Entry], studies: Sequence[Rows]) -> str:
    """The whole page."""
    lines = ["# The papers' claims", ""]
    lines += [*EXPLANATION.splitlines(), "", *_counts(ledger, entries), ""]
    for name, paper in ledger.papers.items():
        mine = [entry for entry in entries if entry.claim.paper == name]
        if mine:
            lines += [f"## {paper.title}", "", f"{paper.source}. Known to us: {paper.known}.", "", *_table(mine), ""]
    lines += _studies(entries, studies)
    return "\n".join(lines).rstrip() + "\n"


def count(entries: Sequence[Entry]) -> dict[str, int]:
    """How many claims have each verdict."""
    found = Counter(entry.verdict for entry in entries)
    return {verdict: found[verdict] for verdict in VERDICTS}


def _counts(ledger: Ledger, entries: Sequence[Entry]) -> list[str]:
    rows = []
    for name in (*ledger.papers, "all"):
        mine = [entry for entry in entries if name in (entry.claim.paper, "all")]
        if mine:
            computed = [entry for entry in mine if entry.claim.kind == "formula"]
            counts = count([entry for entry in mine if entry.claim.kind != "formula"])
            borne_out = count(computed)["confirmed"]
            rows.append((name, *map(str, counts.values()), f"{borne_out} of {len(computed)}", str(len(mine))))
    return table(("paper", *VERDICTS, "formula holds", "claims"), rows)


def _table(entries: Sequence[Entry]) -> list[str]:
    heading = ("claim", "published", "tested by, on", "honest", "verdict", "as the paper", "verdict")
    return table(heading, [_row(entry) for entry in entries])


def _row(entry: Entry) -> tuple[str, ...]:
    claim = entry.claim
    by = "the formula" if claim.kind == "formula" else f"`{claim.recipe}`" if claim.recipe else ""
    seeds = counted(entry.seeds, "seed") if entry.seeds else ""
    tested = "; ".join(part for part in (by, entry.scale, seeds) if part)
    verdict = f"**{entry.verdict}**{_after(entry)}" + (f": {entry.why}" if entry.why else "")
    said = f'<a id="{claim.id}"></a>{claim.words} ({claim.source})'
    return said, entry.published, tested, entry.honest, verdict, entry.as_the_paper, entry.verdict_as_the_paper


def _after(entry: Entry) -> str:
    """What belongs to the verdict, behind it."""
    if not entry.beside:
        return ""
    return f" {entry.beside}" if entry.verdict == EQUIVALENT else f", {entry.beside}"


def _studies(entries: Sequence[Entry], studies: Sequence[Rows]) -> list[str]:
    """The command of every study that decided something."""
    used = {entry.claim.recipe for entry in entries if entry.seeds}
    deciding = [rows for rows in studies if rows.recipe in used and not rows.study.quick]
    if not deciding:
        return []
    lines = ["## The runs", "", "How each of them was made, and with which settings: its `study.json`.", ""]
    versions = (
        f"limen {r.study.environment.get('limen', '?')}, torch {r.study.environment.get('torch', '?')}"
        for r in deciding
    )
    rows = [
        (f"`{r.recipe}`", str(len(r.runs)), str(r.study.settings.epochs), f"`{whole_command(r.study)}`", of)
        for r, of in zip(deciding, versions, strict=True)
    ]
    grown = [f"`{r.recipe}`: {said}" for r in deciding if (said := growth(r.study.asked))]
    notes = [line for text in grown for line in ("", *paragraph(text))]
    return [*lines, *table(("recipe", "runs", "epochs", "command", "versions"), rows), *notes]
