"""A published table: a value a network, all of one metric, shown as it is printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from limen.errors import SpecError
from limen.lab.declaration import Declaration
from limen.lab.metric import Metric


@dataclass(frozen=True)
class Table:
    """The published numbers of one data set."""

    metric: Metric
    """Shown in the decimals of the table."""
    values: Mapping[str, Decimal]
    """By network."""

    def value(self, network: str) -> str:
        """The number of a network."""
        return self.metric.value(float(self.values[network]))

    def difference(self, one: str, other: str) -> str:
        """The difference of two networks."""
        return self.metric.difference(float(self.values[one] - self.values[other]))

    def ahead(self, one: str, other: str) -> float:
        """How much better the first is than the other; 0 where the table says that they are equal."""
        return self.metric.goodness(float(self.values[one] - self.values[other]))


def read(rows: Iterable[Mapping[str, str]], task: Declaration) -> Table:
    """A table from its rows, of which there is one or more.

    >>> from limen.lab.tasks import declared
    >>> rows = [{"network": name, "metric": "rmse", "value": value} for name, value in (("a", "3.1"), ("b", "2.9"))]
    >>> found = read(rows, declared.find("regression"))
    >>> found.value("b"), found.difference("b", "a"), found.ahead("b", "a")
    ('2.9', '−0.2', 0.2)

    Raises:
        SpecError: for a metric that the task does not have, and for more than one.
    """
    rows = list(rows)
    metrics = dict.fromkeys(task.metric(row["metric"]) for row in rows)
    if len(metrics) > 1:
        raise SpecError(f"its numbers are of {', '.join(one.name for one in metrics)}; leave one metric.")
    values = {row["network"]: Decimal(row["value"]) for row in rows}
    return Table(next(iter(metrics)).given_in(max(map(_decimals, values.values()))), values)


def _decimals(value: Decimal) -> int:
    """How many decimals a number is printed with."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
