"""Expression trees as JSON: what may stand in one, and of which type it is. Pure.

{"column": "seats", "type": "number"}    a column; {"at": true} is the instant for which values are asked
{"number": 1.5}, {"text": "UA"}          constants
{"op": "add", "args": [tree, tree]}      an operation of OPERATIONS; some have "values", "zone" or "default"
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from skylane.features.errors import DefinitionError

Tree = Mapping[str, Any]

NUMBER, TEXT, TIME = "number", "text", "time"
ANY = "any"
"""Any type, the same for all arguments that have it."""
NODES_MAX: Final = 1000
DEPTH_MAX: Final = 50


@dataclass(frozen=True)
class Operation:
    """What an operation takes and returns, and which further field it has."""

    args: tuple[str, ...]
    result: str
    field: str | None = None


_BINARY: Final = Operation((NUMBER, NUMBER), NUMBER)
_UNARY: Final = Operation((NUMBER,), NUMBER)
OPERATIONS: Final[Mapping[str, Operation]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "minimum", "maximum", "and", "or"), _BINARY),
    **dict.fromkeys(("lt", "le", "gt", "ge"), _BINARY),
    **dict.fromkeys(("negate", "not", "absolute", "sqrt", "exp", "log", "floor", "ceil"), _UNARY),
    "eq": Operation((ANY, ANY), NUMBER),
    "ne": Operation((ANY, ANY), NUMBER),
    "is_missing": Operation((ANY,), NUMBER),
    "fill": Operation((ANY, ANY), ANY),
    "where": Operation((NUMBER, ANY, ANY), ANY),
    "is_in": Operation((TEXT,), NUMBER, "values"),
    "lower": Operation((TEXT,), TEXT),
    "seconds_between": Operation((TIME, TIME), NUMBER),
    "unix_seconds": Operation((TIME,), NUMBER),
    "hour": Operation((TIME,), NUMBER, "zone"),
    "weekday": Operation((TIME,), NUMBER, "zone"),
}


def type_of(tree: Tree, where: str) -> str:
    """The type of the result. Raises DefinitionError, with `where` in front, for anything that is not such a tree."""
    if sum(1 for _ in _nodes(tree, where)) > NODES_MAX:
        raise DefinitionError(f"{where}: expected at most {NODES_MAX} operations, write it as several features")
    return _type_of(tree, where, DEPTH_MAX)


def columns_of(tree: Tree) -> dict[str, str]:
    """Column → type, of all columns that the tree reads."""
    return {node["column"]: node["type"] for node in _nodes(tree, "tree") if "column" in node}


def reads_instant(tree: Tree) -> bool:
    """Whether the value depends on the instant for which it is asked."""
    return any("at" in node for node in _nodes(tree, "tree"))


def _nodes(tree: Tree, where: str) -> Iterator[Tree]:
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if not isinstance(node, Mapping):
            raise DefinitionError(f"{where}: expected an expression, received {node!r}")
        yield node
        pending.extend(node.get("args", ()))


def _type_of(tree: Tree, where: str, depth: int) -> str:
    if not depth:
        raise DefinitionError(f"{where}: expected at most {DEPTH_MAX} operations inside of each other")
    if "column" in tree:
        if tree.get("type") not in (NUMBER, TEXT, TIME):
            raise DefinitionError(f"{where}: column {tree['column']}: expected number, text or time")
        return str(tree["type"])
    if "at" in tree:
        return TIME
    if "number" in tree and isinstance(tree["number"], int | float):
        return NUMBER
    if "text" in tree and isinstance(tree["text"], str):
        return TEXT
    operation = OPERATIONS.get(tree.get("op", ""))
    if operation is None:
        raise DefinitionError(f"{where}: unknown operation {tree.get('op')!r}, known are {', '.join(OPERATIONS)}")
    return _result(tree, operation, [_type_of(arg, where, depth - 1) for arg in tree["args"]], where)


def _result(tree: Tree, operation: Operation, types: list[str], where: str) -> str:
    name = tree["op"]
    if len(types) != len(operation.args):
        raise DefinitionError(f"{where}: {name}: expected {len(operation.args)} arguments, received {len(types)}")
    common: str | None = None
    for expected, received in zip(operation.args, types, strict=True):
        if expected == ANY:
            common = expected = common or received
        if expected != received:
            raise DefinitionError(f"{where}: {name}: expected a {expected}, received a {received}")
    if operation.field == "values" and not all(isinstance(value, str) for value in tree["values"]):
        raise DefinitionError(f"{where}: {name}: expected a list of texts, received {tree['values']!r}")
    if operation.field == "zone":
        check_zone(tree["zone"], f"{where}: {name}")
    return (common or ANY) if operation.result == ANY else operation.result


def check_zone(name: object, where: str) -> None:
    """Raises DefinitionError unless it is the name of a time zone."""
    try:
        ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DefinitionError(
            f"{where}: expected the name of a time zone, such as America/New_York, received {name!r}"
        ) from None
