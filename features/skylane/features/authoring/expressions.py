"""Expressions as authors write them. Operators build a tree of data; what no tree can hold is refused.

`col("seats") * 2 > 100` is `{"op": "gt", …}`. Python's own `if`, `and`, `in`, functions and loops would run where the
definition is written, not where it is evaluated, so each of them raises DefinitionError with what to write instead.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from skylane.features.compiled import NUMBER, TEXT, TIME, Tree, type_of
from skylane.features.errors import DefinitionError

_INSTEAD: Final = (
    "a Python function or method cannot be part of a view, because servers do not run the author's code. Write the "
    "value with + - * /, comparisons, & | ~, where(condition, yes, no), .fill(default), .is_in([...]), .lower(), "
    ".is_missing(), abs(x), sqrt, exp, log, floor, ceil, minimum, maximum, hour, weekday or seconds_between, or "
    "compute the column before it is written to the source"
)


class Expression:
    """A value of each row. Has a type: number, text or time; a condition is a number, 1 or 0."""

    __array_ufunc__ = None
    """numpy's functions are refused by TypeError instead of being applied to the object."""
    __hash__ = None  # type: ignore[assignment]  # == builds an expression

    def __init__(self, tree: Tree) -> None:
        self.tree: Final = tree
        self.type: Final = type_of(tree, "expression")

    def __add__(self, other: "Operand") -> "Expression":
        return _operation("add", self, other)

    def __radd__(self, other: "Operand") -> "Expression":
        return _operation("add", other, self)

    def __sub__(self, other: "Operand") -> "Expression":
        return _operation("subtract", self, other)

    def __rsub__(self, other: "Operand") -> "Expression":
        return _operation("subtract", other, self)

    def __mul__(self, other: "Operand") -> "Expression":
        return _operation("multiply", self, other)

    def __rmul__(self, other: float) -> "Expression":
        return _operation("multiply", other, self)

    def __truediv__(self, other: "Operand") -> "Expression":
        return _operation("divide", self, other)

    def __rtruediv__(self, other: "Operand") -> "Expression":
        return _operation("divide", other, self)

    def __lt__(self, other: "Operand") -> "Expression":
        return _operation("lt", self, other)

    def __le__(self, other: "Operand") -> "Expression":
        return _operation("le", self, other)

    def __gt__(self, other: "Operand") -> "Expression":
        return _operation("gt", self, other)

    def __ge__(self, other: "Operand") -> "Expression":
        return _operation("ge", self, other)

    def __eq__(self, other: object) -> "Expression":  # type: ignore[override]  # builds an expression
        return _operation("eq", self, other)

    def __ne__(self, other: object) -> "Expression":  # type: ignore[override]  # builds an expression
        return _operation("ne", self, other)

    def __and__(self, other: "Operand") -> "Expression":
        return _operation("and", self, other)

    def __or__(self, other: "Operand") -> "Expression":
        return _operation("or", self, other)

    def __invert__(self) -> "Expression":
        return _operation("not", self)

    def __neg__(self) -> "Expression":
        return _operation("negate", self)

    def __abs__(self) -> "Expression":
        return _operation("absolute", self)

    def fill(self, default: "Operand") -> "Expression":
        """The value, or `default` where it is missing."""
        return _operation("fill", self, default)

    def is_missing(self) -> "Expression":
        """1 where there is no value, else 0."""
        return _operation("is_missing", self)

    def is_in(self, values: Sequence[str]) -> "Expression":
        """1 where the text is one of `values`, else 0."""
        if isinstance(values, str):
            raise DefinitionError("is_in: expected a list of texts, write .is_in([...])")
        return Expression({"op": "is_in", "args": [self.tree], "values": list(values)})

    def lower(self) -> "Expression":
        """The text in lower case."""
        return _operation("lower", self)

    def __bool__(self) -> NoReturn:
        raise DefinitionError(
            "if, and, or, not, in and comparisons such as a < b < c run while the view is defined, not for each row: "
            "write where(condition, yes, no), a & b, a | b, ~a, .is_in([...])"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise DefinitionError(f".{name}: {_INSTEAD}")

    def __call__(self, *_args: object, **_options: object) -> NoReturn:
        raise DefinitionError(_INSTEAD)

    def __iter__(self) -> NoReturn:
        raise DefinitionError(f"an expression cannot be iterated: {_INSTEAD}")

    def __getitem__(self, _key: object) -> NoReturn:
        raise DefinitionError(f"[...]: {_INSTEAD}")

    def __float__(self) -> NoReturn:
        raise DefinitionError(f"float(...) and functions of the module math: {_INSTEAD}")

    def __int__(self) -> NoReturn:
        raise DefinitionError(f"int(...): write floor(x); {_INSTEAD}")

    def __pow__(self, _power: object) -> NoReturn:
        raise DefinitionError("**: write x * x, sqrt(x), or exp(y * log(x))")

    def __mod__(self, _divisor: object) -> NoReturn:
        raise DefinitionError("%: write x - floor(x / y) * y")

    def __floordiv__(self, _divisor: object) -> NoReturn:
        raise DefinitionError("//: write floor(x / y)")


Operand = Expression | float | str


def col(name: str) -> Expression:
    """A column of numbers or truth values; in an on-demand view also a feature such as "planes.seats"."""
    return Expression({"column": name, "type": NUMBER})


def text(name: str) -> Expression:
    """A column of texts."""
    return Expression({"column": name, "type": TEXT})


def time(name: str) -> Expression:
    """A column of times."""
    return Expression({"column": name, "type": TIME})


def at() -> Expression:
    """The instant for which values are asked; for on-demand views alone."""
    return Expression({"at": True})


def where(condition: Expression, yes: Operand, no: Operand) -> Expression:
    """`yes` where the condition is true, `no` where it is false, missing where it is missing."""
    return _operation("where", condition, yes, no)


def minimum(left: Operand, right: Operand) -> Expression:
    return _operation("minimum", left, right)


def maximum(left: Operand, right: Operand) -> Expression:
    return _operation("maximum", left, right)


def sqrt(value: Operand) -> Expression:
    return _operation("sqrt", value)


def exp(value: Operand) -> Expression:
    return _operation("exp", value)


def log(value: Operand) -> Expression:
    """The natural logarithm; missing for 0 and less."""
    return _operation("log", value)


def floor(value: Operand) -> Expression:
    return _operation("floor", value)


def ceil(value: Operand) -> Expression:
    return _operation("ceil", value)


def seconds_between(begin: Expression, end: Expression) -> Expression:
    return _operation("seconds_between", begin, end)


def unix_seconds(instant: Expression) -> Expression:
    """Seconds since 1970-01-01T00:00Z."""
    return _operation("unix_seconds", instant)


def hour(instant: Expression, zone: str) -> Expression:
    """The hour, 0 to 23, that clocks in the time zone show."""
    return Expression({"op": "hour", "args": [_tree(instant)], "zone": zone})


def weekday(instant: Expression, zone: str) -> Expression:
    """The day of the week in the time zone: Monday is 0."""
    return Expression({"op": "weekday", "args": [_tree(instant)], "zone": zone})


def _operation(name: str, *args: object) -> Expression:
    return Expression({"op": name, "args": [_tree(arg) for arg in args]})


def _tree(value: object) -> Tree:
    if isinstance(value, Expression):
        return value.tree
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return {"number": float(value)}
    expected: Any = "an expression, a finite number or a text"
    raise DefinitionError(f"expected {expected}, received {value!r}: {_INSTEAD}")
