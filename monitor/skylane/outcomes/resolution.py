"""The log of outcomes → one outcome for each key, as known and as recorded by given instants. Pure.

The records of a key are ordered by `known_at`, then by `recorded_at`; the last one holds. Neighbours with the same
content (label, value and the time at which it happened) count as one, known since the first of them. So neither the
order of the log nor repeated records change the result. Where two records of a key differ but were known at the same
instant, the one recorded later holds, and the key is counted as conflicting.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from skylane.outcomes.keys import Ints, Mask, dense, integers, microseconds, nulls, parse_ids, plain, text_codes
from skylane.outcomes.schema import OUTCOMES, TIME

LATE_AFTER: Final = timedelta(days=1)
"""An outcome that is recorded later than this after it was known is counted as late."""

_NONE: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the records of a log."""

    records: int = 0
    """Records of the log without tombstones."""
    outcomes: int = 0
    """Keys that have an outcome as of the instants."""
    not_yet_recorded: int = 0
    """Records that were recorded after `recorded_by`."""
    not_yet_known: int = 0
    """Records that were known after `known_by`."""
    dropped: int = 0
    """Records that `skylane outcomes drop` has undone."""
    repeated: int = 0
    """Records that say what the record before them said."""
    corrected: int = 0
    """Keys whose outcome changed at least once."""
    conflicting: int = 0
    """Keys with different outcomes that were known at the same instant; the one recorded last holds."""
    late: int = 0
    """Outcomes that were recorded more than a day after they were known."""


@dataclass(frozen=True)
class Resolved:
    """The outcomes as of two instants."""

    table: Any
    """Columns as in schema.OUTCOMES, one row for each key, ordered by key."""
    counts: Counts


def resolve(log: Any, *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> Resolved:
    """The outcomes that were known by one instant and recorded by another; None: whatever is in the log.

    Raises ValueError for an instant without a time zone.
    """
    known_max, recorded_max = instant("known_by", known_by), instant("recorded_by", recorded_by)
    recorded = microseconds(log["recorded_at"])
    is_tombstone = ~nulls(plain(log["drops_from"], TIME))
    in_time = recorded <= recorded_max
    dropped = _dropped(log, recorded, is_tombstone & in_time) & in_time & ~is_tombstone
    present = in_time & ~is_tombstone & ~dropped
    known = microseconds(log["known_at"])
    held = present & (known <= known_max)
    counts = {
        "records": int((~is_tombstone).sum()),
        "not_yet_recorded": int((~is_tombstone & ~in_time).sum()),
        "not_yet_known": int((present & (known > known_max)).sum()),
        "dropped": int(dropped.sum()),
    }
    table = log.filter(pa.array(held)) if not held.all() else log
    return _resolved(table.combine_chunks(), counts)


def instant(name: str, at: datetime | None) -> int:
    """An instant in microseconds; the largest number for none. Raises ValueError for one without a time zone."""
    if at is None:
        return int(np.iinfo(np.int64).max)
    if at.tzinfo is None:
        raise ValueError(f"{name}: expected an instant with a time zone, received {at.isoformat()}")
    return (at - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // timedelta(microseconds=1)


def _dropped(log: Any, recorded: Ints, tombstones: Mask) -> Mask:
    """Records that a tombstone undoes."""
    undone = np.zeros(len(recorded), bool)
    if not tombstones.any():
        return undone
    (senders,) = text_codes(log["sender"])
    since = microseconds(log["drops_from"])
    for place in np.flatnonzero(tombstones):
        undone |= (senders == senders[place]) & (recorded >= since[place]) & (recorded <= recorded[place])
    return undone


def _resolved(log: Any, counts: dict[str, int]) -> Resolved:
    known, recorded = microseconds(log["known_at"]), microseconds(log["recorded_at"])
    keys = key_codes(log)
    order = np.argsort(keys, kind="stable")
    starts = _starts(keys[order])
    several = np.zeros(len(keys), bool)
    if not starts.all():
        sizes = np.diff(np.append(np.flatnonzero(starts), len(keys)))
        several = np.repeat(sizes > 1, sizes)
    content = _contents(log) if several.any() else keys
    if several.any():
        (senders,) = text_codes(log["sender"])
        among = order[several]
        ranks = (senders[among], content[among], recorded[among], known[among], keys[among])
        order[several] = among[np.lexsort(ranks)]
    return _folded(log, _Ordered(order, starts, content[order], known, recorded), counts)


class _Ordered(NamedTuple):
    """The records of a log in order: by key, then as they replace each other."""

    places: Ints
    starts: Mask
    """Where a key begins, in order."""
    content: Ints
    """In order."""
    known: Ints
    """By place in the log."""
    recorded: Ints
    """By place in the log."""


def _folded(log: Any, ordered: _Ordered, counts: dict[str, int]) -> Resolved:
    """One row for each key."""
    order, starts, content, known, recorded = ordered
    changes = starts.copy()
    changes[1:] |= content[1:] != content[:-1]
    group = np.cumsum(starts) - 1
    groups = int(group[-1]) + 1 if len(group) else 0
    runs = np.flatnonzero(changes)
    winners = order[runs[_ends(group[runs])]]
    corrections = np.bincount(group[changes], minlength=groups) - 1 if groups else np.zeros(0, np.int64)
    conflicts = changes & ~starts
    conflicts[1:] &= known[order][1:] == known[order][:-1]
    late = recorded[winners] - known[winners] > LATE_AFTER // timedelta(microseconds=1)
    names = [field.name for field in OUTCOMES if field.name in log.schema.names]
    columns = {name: log[name].take(pa.array(winners, pa.int64())) for name in names}
    happened = microseconds(columns["happened_at"])
    columns["happened_at"] = pa.array(np.where(happened == _NONE, known[winners], happened)).cast(TIME)
    columns["corrections"] = pa.array(corrections, pa.uint32())
    table = pa.table([columns[field.name] for field in OUTCOMES], schema=OUTCOMES)
    return Resolved(
        table,
        Counts(
            **counts,
            outcomes=groups,
            repeated=int(len(order) - changes.sum()),
            corrected=int((corrections > 0).sum()),
            conflicting=len(np.unique(group[conflicts])),
            late=int(late.sum()),
        ),
    )


def key_codes(log: Any) -> Ints:
    """A number for each record's key, ordered as the keys are: ids first, then entities."""
    writers, calls, by_id = parse_ids(log["prediction_id"])
    (entities,) = text_codes(log["entity"])
    first = np.where(by_id, writers, 0)
    second = np.where(by_id, calls, entities)
    third = np.where(by_id, integers(log["row"]), microseconds(log["event_at"], 0))
    return dense((~by_id).astype(np.int64), first, second, third)


def _contents(log: Any) -> Ints:
    """A number for each record's label, value and time, ordered as they are."""
    (labels,) = text_codes(log["label"])
    values = np.asarray(plain(log["value"], pa.float64()).fill_null(np.nan), np.float64)
    ranks = np.unique(values, return_inverse=True)[1].astype(np.int64)  # NaN, which stands for none, is the last
    return dense(labels, ranks, microseconds(log["happened_at"]))


def _starts(keys: Ints) -> Mask:
    """Where a key begins, of keys that stand in order."""
    starts = np.ones(len(keys), bool)
    starts[1:] = keys[1:] != keys[:-1]
    return starts


def _ends(groups: Ints) -> Mask:
    """Where a group ends, of groups that stand in order."""
    ends = np.ones(len(groups), bool)
    ends[:-1] = groups[1:] != groups[:-1]
    return ends
