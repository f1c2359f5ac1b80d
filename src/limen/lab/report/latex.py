"""The summary as a table for LaTeX, with rules of booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from limen.lab.numerals import MINUS, MISSING, NARROW
from limen.lab.report.contents import Contents
from limen.lab.report.tables import SummaryLine

ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{MINUS: "$-$", NARROW: r"\,", MISSING: "--", "×": r"$\times$", "’": "'"},
    **{"<": r"\textless{}", ">": r"\textgreater{}"},
}


def escaped(text: str) -> str:
    """Text as LaTeX prints it.

    >>> print(escaped("a_b 50 % \\\\ −1"))
    a\\_b 50 \\% \\textbackslash{} $-$1
    """
    return "".join(ESCAPED.get(character, character) for character in text)


def table(study: Contents, lines: Sequence[SummaryLine]) -> str:
    """The table of the summary; ``lines`` are its rows."""
    unit = f" ({study.metric.difference_unit})" if study.metric.difference_unit else ""
    headings = (
        "Activation",
        study.metric.heading,
        f"Difference{unit}",
        "$p$ (Holm)",
        "Verdict",
        "Step time",
        "Memory (MB)",
    )
    rows = [
        (
            escaped(line.activation),
            _with_span(line.mean, line.interval),
            _with_span(line.difference, line.difference_interval),
            *map(escaped, (line.p, line.verdict, line.ratio, line.memory)),
        )
        for line in lines
    ]
    heading = " & ".join(one if "$" in one else escaped(one) for one in headings)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{tabular}{lrrrlrr}",
            r"\toprule",
            heading + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def link(text: str) -> str:
    """The same as an address that holds it."""
    return "data:application/x-tex;charset=utf-8," + quote(text)


def _with_span(text: str, span: str) -> str:
    return escaped(text if span == MISSING or text == MISSING else f"{text} ({span})")
