"""What an outcome must be to be recorded. Pure: the clock arrives as `now`.

Each row of a submission is accepted or refused by itself; a refusal names the row, the field, what was expected and
what was received.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.outcomes.keys import Ints, Mask, microseconds, nulls, parse_ids, plain
from skylane.outcomes.schema import TIME

OUTCOMES_MAX: Final = 10_000
"""Outcomes of one request."""
TEXT_BYTES_MAX: Final = 256
"""Bytes of an entity or a label."""
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""By so much a sender's clock may be ahead of ours."""
REFUSALS_MAX: Final = 100
"""Refusals that a reply lists; all of them are counted."""

_NONE: Final = np.iinfo(np.int64).min
_SHOWN_MAX: Final = 60


@dataclass(frozen=True)
class Refusal:
    """Why one outcome of a submission was not recorded."""

    index: int
    """Its place in the submission, from 0."""
    reason: str
    """The field, what was expected and what was received."""


@dataclass(frozen=True)
class Checked:
    """The outcome of a check."""

    table: Any
    """The accepted rows, with `row` and `known_at` filled in."""
    places: Ints
    """Their places in the submission."""
    refused: int
    refusals: tuple[Refusal, ...]
    """The first ones, by index; at most REFUSALS_MAX."""


def check(submission: Any, now: int, problems: Mapping[int, str] | None = None) -> Checked:
    """Accept or refuse each row of a table as in schema.SUBMISSION, at `now`, in microseconds since 1970.

    `problems`: index → reason, for rows of which a value could not be read.
    """
    refused = _Refused(len(submission), problems or {})
    _check_key(submission, refused)
    _check_content(submission, refused)
    happened, known = microseconds(submission["happened_at"]), microseconds(submission["known_at"])
    _check_times(happened, known, now, refused)
    # A sender whose clock is ahead may name an instant of happening that is after ours.
    known = np.where(known == _NONE, np.maximum(happened, now), known)
    table = submission.set_column(7, submission.schema.field(7), pa.array(known).cast(TIME))
    rows = plain(table["row"], pa.uint32())
    with_id = plain(table["prediction_id"], pa.string()).is_valid()
    table = table.set_column(
        1, table.schema.field(1), pc.if_else(with_id, rows.fill_null(0), pa.scalar(None, pa.uint32()))
    )
    if refused.mask.any():
        table = table.filter(pa.array(~refused.mask))
    return Checked(table, np.flatnonzero(~refused.mask), int(refused.mask.sum()), refused.listed())


class _Refused:
    """The rows that are refused, each for the first reason found."""

    def __init__(self, rows: int, problems: Mapping[int, str]) -> None:
        self.mask: Mask = np.zeros(rows, bool)
        self._reasons: dict[int, str] = {}
        for index in sorted(problems):
            self.mask[index] = True
            if len(self._reasons) < REFUSALS_MAX:
                self._reasons[index] = problems[index]

    def add(self, mask: Mask, reason: Callable[[int], str]) -> None:
        """Refuse these rows; `reason` makes the text for one of them."""
        new = mask & ~self.mask
        self.mask |= new
        # The first ones by index are listed, whichever check they fail.
        for index in np.flatnonzero(new)[:REFUSALS_MAX].tolist():
            self._reasons[index] = reason(index)

    def listed(self) -> tuple[Refusal, ...]:
        return tuple(Refusal(index, self._reasons[index]) for index in sorted(self._reasons)[:REFUSALS_MAX])


def _check_key(table: Any, refused: _Refused) -> None:
    ids, entities = plain(table["prediction_id"], pa.string()), plain(table["entity"], pa.string())
    has_id, has_entity, has_event = ~nulls(ids), ~nulls(entities), ~nulls(plain(table["event_at"], TIME))
    has_row = ~nulls(plain(table["row"], pa.uint32()))
    refused.add(has_id & has_entity, lambda _: "prediction_id, entity: expected one of them, received both")
    refused.add(~has_id & ~has_entity, lambda _: "prediction_id, entity: expected one of them, received neither")
    refused.add(
        has_id & ~parse_ids(ids)[2],
        lambda index: (
            "prediction_id: expected the id of a reply, such as '9f2c1a7be04d5538-1a4', received " + _shown(ids, index)
        ),
    )
    refused.add(has_id & has_event, lambda _: "event_at: expected only beside an entity, received a prediction_id")
    refused.add(has_entity & ~has_event, lambda _: "event_at: expected the time of the event, received none")
    refused.add(has_entity & has_row, lambda _: "row: expected only beside a prediction_id, received an entity")
    _check_text("entity", entities, refused)


def _check_content(table: Any, refused: _Refused) -> None:
    labels, values = plain(table["label"], pa.string()), plain(table["value"], pa.float64())
    refused.add(nulls(labels) & nulls(values), lambda _: "label, value: expected one of them, received neither")
    _check_text("label", labels, refused)
    infinite = ~np.isfinite(np.asarray(values.fill_null(0.0)))
    refused.add(infinite, lambda index: f"value: expected a finite number, received {values[index].as_py()}")


def _check_text(field: str, texts: Any, refused: _Refused) -> None:
    sizes = np.asarray(pc.binary_length(texts).fill_null(1))
    refused.add(sizes == 0, lambda _: f"{field}: expected text, received an empty one")
    refused.add(
        sizes > TEXT_BYTES_MAX,
        lambda index: f"{field}: expected at most {TEXT_BYTES_MAX} bytes of UTF-8, received {sizes[index]}",
    )


def _check_times(happened: Ints, known: Ints, now: int, refused: _Refused) -> None:
    latest = now + CLOCK_TOLERANCE // timedelta(microseconds=1)
    for field, times in (("happened_at", happened), ("known_at", known)):
        refused.add(
            times > latest,
            lambda index, field=field, times=times: (  # type: ignore[misc]
                f"{field}: expected no time in the future, received {_time(times[index])} at {_time(now)}"
            ),
        )
    refused.add(
        (happened != _NONE) & (known != _NONE) & (known < happened),
        lambda index: (
            f"known_at: expected no time before happened_at ({_time(happened[index])}), received {_time(known[index])}"
        ),
    )


def _shown(texts: Any, index: int) -> str:
    text = texts[index].as_py()
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def _time(at: Any) -> str:
    try:
        return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(at))).isoformat()
    except OverflowError:
        return f"{at} µs since 1970"
