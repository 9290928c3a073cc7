"""Aggregates over a window, as authors write them."""

from dataclasses import dataclass, replace
from datetime import timedelta

from skylane.features.authoring.expressions import Expression
from skylane.features.compiled import NUMBER, TEXT
from skylane.features.errors import DefinitionError

LAST_MAX = 100


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """An aggregate of an expression over the rows of a window."""

    name: str
    value: Expression | None
    over: timedelta
    where: Expression | None = None
    n: int | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.over, timedelta) or self.over <= timedelta(0):
            raise DefinitionError(f"{self.name}: over: expected a duration such as hours(3), received {self.over!r}")
        if self.where is not None and self.where.type != NUMBER:
            raise DefinitionError(f"{self.name}: where: expected a condition, received a {self.where.type}")
        allowed = (NUMBER, TEXT) if self.name == "distinct" else (NUMBER,)
        if self.value is not None and self.value.type not in allowed:
            raise DefinitionError(
                f"{self.name}: expected {' or '.join(allowed)}, received a {self.value.type}: write "
                "distinct(text(...)), or mean(text(...) == 'value') for the share of one value"
            )

    def when(self, condition: Expression) -> "Aggregate":
        """The same over the rows for which the condition is true."""
        return replace(self, where=condition if self.where is None else self.where & condition)


def count(*, over: timedelta) -> Aggregate:
    """Number of rows."""
    return Aggregate(name="count", value=None, over=over)


def sum_of(value: Expression, *, over: timedelta) -> Aggregate:
    """The number nearest to the exact sum; 0 without rows."""
    return Aggregate(name="sum", value=value, over=over)


def mean(value: Expression, *, over: timedelta) -> Aggregate:
    return Aggregate(name="mean", value=value, over=over)


def std(value: Expression, *, over: timedelta) -> Aggregate:
    """Standard deviation of a sample (n − 1); missing for fewer than two rows."""
    return Aggregate(name="std", value=value, over=over)


def min_of(value: Expression, *, over: timedelta) -> Aggregate:
    return Aggregate(name="min", value=value, over=over)


def max_of(value: Expression, *, over: timedelta) -> Aggregate:
    return Aggregate(name="max", value=value, over=over)


def last(value: Expression, *, n: int = 1, over: timedelta) -> Aggregate:
    """The values of the n rows that happened last: features NAME_1 (the newest) to NAME_n; NAME alone for n = 1."""
    if not 1 <= n <= LAST_MAX:
        raise DefinitionError(f"last: n: expected 1 to {LAST_MAX}, received {n}")
    return Aggregate(name="last", value=value, over=over, n=n)


def distinct(value: Expression, *, over: timedelta) -> Aggregate:
    """Number of different values."""
    return Aggregate(name="distinct", value=value, over=over)


def quantile(value: Expression, q: float, *, over: timedelta) -> Aggregate:
    """The quantile, linear between two values; q = 0.5 is the median."""
    if not 0 <= q <= 1:
        raise DefinitionError(f"quantile: q: expected 0 to 1, received {q}")
    return Aggregate(name="quantile", value=value, over=over, quantile=float(q))


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def days(number: float) -> timedelta:
    return timedelta(days=number)
