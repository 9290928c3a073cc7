"""The caller's outcomes → messages, and replies → receipts. Opens no connection."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from skylane.times import microseconds_of
from skylane.v1 import outcomes_pb2 as pb

REQUEST_MAX: Final = 10_000
"""Outcomes of one request; the servers' limit."""
REFUSALS_MAX: Final = 100
"""Refusals that a receipt lists."""


@dataclass(frozen=True)
class OutcomeRefusal:
    """Why one outcome was not recorded."""

    index: int
    """Its index in the call, from 0."""
    reason: str
    """The field, what was expected and what was received."""


@dataclass(frozen=True, kw_only=True)
class OutcomeReceipt:
    """The result of recording outcomes. Accepted ones are on the server's disk."""

    accepted: int = 0
    """Outcomes that are recorded: new, repeated and corrected ones."""
    repeated: int = 0
    """Of these, repetitions of what was recorded before, as far as the server remembers."""
    corrected: int = 0
    """Of these, corrections of what was recorded before, as far as the server remembers."""
    unknown: int = 0
    """Of these, outcomes whose prediction id is not known to the servers of this journal."""
    refused: int = 0
    """Outcomes that were not recorded."""
    refusals: tuple[OutcomeRefusal, ...] = ()
    """The reasons for the first of them, by index."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            accepted=self.accepted + other.accepted,
            repeated=self.repeated + other.repeated,
            corrected=self.corrected + other.corrected,
            unknown=self.unknown + other.unknown,
            refused=self.refused + other.refused,
            refusals=(*self.refusals, *other.refusals)[:REFUSALS_MAX],
        )


def receipt_of(reply: pb.RecordResponse, start: int) -> OutcomeReceipt:
    """The receipt for a request whose first outcome has the index `start` in the call."""
    return OutcomeReceipt(
        accepted=reply.accepted,
        repeated=reply.repeated,
        corrected=reply.corrected,
        unknown=reply.unknown,
        refused=reply.refused,
        refusals=tuple(OutcomeRefusal(start + each.index, each.reason) for each in reply.refusals),
    )


class Outcomes:
    """The outcomes of one call. Raises TypeError and ValueError naming the argument that cannot be sent."""

    def __init__(
        self,
        model: str,
        prediction_ids: Any = None,
        *,
        rows: Any = None,
        entities: Any = None,
        event_at: Any = None,
        labels: Any = None,
        values: Any = None,
        happened_at: Any = None,
        known_at: Any = None,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ValueError(f"model: expected the name of a model, received {model!r}")
        if (prediction_ids is None) == (entities is None):
            received = "neither" if entities is None else "both"
            raise ValueError(f"prediction_ids, entities: expected one of them, received {received}")
        if labels is None and values is None:
            raise ValueError("labels, values: expected one of them or both, received neither")
        self._model = model
        arguments = {
            "prediction_ids": (prediction_ids, _text),
            "rows": (rows, _row),
            "entities": (entities, _text),
            "event_at": (event_at, microseconds_of_any),
            "labels": (labels, _label),
            "values": (values, _number),
            "happened_at": (happened_at, microseconds_of_any),
            "known_at": (known_at, microseconds_of_any),
        }
        self._columns = {name: _column(name, *each) for name, each in arguments.items() if each[0] is not None}
        lengths = {name: len(column) for name, column in self._columns.items() if isinstance(column, list)}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"expected as many values of each, received {shown}")
        self._count = next(iter(lengths.values()), 1)
        if rows is None and isinstance(self._columns.get("prediction_ids"), tuple):
            self._columns["rows"] = list(range(self._count))

    def __len__(self) -> int:
        return self._count

    def requests(self) -> Iterator[tuple[int, pb.RecordRequest]]:
        """The messages, each with the index of its first outcome."""
        for start in range(0, self._count, REQUEST_MAX):
            places = range(start, min(start + REQUEST_MAX, self._count))
            yield start, pb.RecordRequest(model=self._model, outcomes=map(self._outcome, places))

    def _outcome(self, place: int) -> pb.Outcome:
        outcome = pb.Outcome()
        for name, column in self._columns.items():
            value = column[place] if isinstance(column, list) else column[0]
            if value is None:
                continue
            field = _FIELDS[name]
            if field.endswith("_at"):
                getattr(outcome, field).FromMicroseconds(value)
            else:
                setattr(outcome, field, value)
        return outcome


_FIELDS: Final = {
    "prediction_ids": "prediction_id", "rows": "row", "entities": "entity", "event_at": "event_at",
    "labels": "label", "values": "value", "happened_at": "happened_at", "known_at": "known_at",
}  # fmt: skip
"""Argument → field of the message."""


def microseconds_of_any(name: str, at: Any) -> int:
    """The caller's time as an instant. Raises TypeError and ValueError naming the argument."""
    if not isinstance(at, datetime):
        raise TypeError(f"{name}: expected datetimes with a time zone, received {at!r}")
    return microseconds_of(name, at)


def _column(name: str, value: Any, read: Callable[[str, Any], Any]) -> list[Any] | tuple[Any]:
    """A list with a value for each outcome, or a tuple with a single value for all."""
    if isinstance(value, str | int | float | datetime) or getattr(value, "ndim", 1) == 0:
        return (read(name, value.item() if hasattr(value, "item") else value),)
    if not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a value or values, received {value!r}")
    listed: Sequence[Any] = value.tolist() if hasattr(value, "tolist") else list(value)
    return [None if each is None else read(name, each) for each in listed]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, received {value!r}")
    return value


def _row(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected whole numbers, received {value!r}")
    if not 0 <= value < 2**32:
        raise ValueError(f"{name}: expected numbers from 0, received {value}")
    return value


def _label(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{name}: expected text or whole numbers, as the model's classes are, received {value!r}")
    return str(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected numbers, received {value!r}")
    return float(value)
