"""Predictions beside their outcomes. Pure.

An outcome with a prediction id belongs to that row of that call. An outcome with an entity and a time belongs to every
prediction of the entity for exactly that time: `event_at` if the prediction has one, else `happened_at`. Only if there
is none, and a tolerance is given, it belongs to the entity's latest prediction before that time, at most the tolerance
earlier, if that is a single row that no other outcome belongs to. What is ambiguous is counted and not guessed. An
outcome with an id takes precedence over one with an entity.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skylane.outcomes.keys import Ints, Mask, dense, integers, microseconds, nulls, parse_ids, plain, take, text_codes

ADDED: Final = ("label", "value", "known_at", "recorded_at")
"""Columns of outcomes that `join` adds to the predictions; null where there is no outcome."""

_NONE: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class JoinCounts:
    """What became of predictions and outcomes in a join."""

    predictions: int = 0
    labelled: int = 0
    """Predictions with an outcome."""
    outcomes: int = 0
    matched: int = 0
    """Outcomes that belong to at least one prediction."""
    unknown_ids: int = 0
    """Outcomes of calls that are not among the predictions: never made here, not kept by sampling, or too old."""
    unknown_rows: int = 0
    """Outcomes of calls that are among the predictions, for rows that are not."""
    unknown_entities: int = 0
    """Outcomes of entities without any prediction."""
    unmatched_times: int = 0
    """Outcomes of entities with predictions, none of them for that time."""
    ambiguous: int = 0
    """Outcomes with several candidates, or that share their only candidate, beyond an exact match."""
    disagreeing: int = 0
    """Predictions with an outcome by id and a different one by entity; the one by id is used."""
    double_predictions: int = 0
    """Predictions whose id and row another prediction has as well. All of them get the outcome."""


@dataclass(frozen=True)
class Joined:
    """Predictions beside their outcomes."""

    table: Any
    """The predictions in their order, with the columns `ADDED`."""
    counts: JoinCounts


def join(predictions: Any, outcomes: Any, *, tolerance: timedelta = timedelta(0)) -> Joined:
    """Add to each prediction its outcome. `tolerance`: see above; with 0 only exact times match."""
    clash = [name for name in ADDED if name in predictions.schema.names]
    if clash:
        raise ValueError(f"predictions: expected no column {clash[0]!r}: they have been joined already")
    rows = len(predictions)
    is_by_id = ~nulls(plain(outcomes["prediction_id"], pa.string()))
    with_id, with_entity = np.flatnonzero(is_by_id), np.flatnonzero(~is_by_id)
    found, counts = _by_id(predictions, outcomes.take(pa.array(with_id)))
    by_id = _originals(found, with_id)
    places = by_id
    matched = np.zeros(len(outcomes), bool)
    matched[by_id[by_id >= 0]] = True
    if len(with_entity):
        found, more = _by_entity(predictions, outcomes.take(pa.array(with_entity)), tolerance)
        by_entity = _originals(found, with_entity)
        places = np.where(by_id >= 0, by_id, by_entity)
        counts |= more | {"disagreeing": _disagreeing(outcomes, by_id, by_entity)}
        matched[by_entity[by_entity >= 0]] = True
    table = predictions
    for name, column in zip(ADDED, take(outcomes, places, ADDED), strict=True):
        table = table.append_column(name, column)
    labelled = int((places >= 0).sum())
    sums = {"predictions": rows, "labelled": labelled, "outcomes": len(outcomes), "matched": int(matched.sum())}
    return Joined(table, JoinCounts(**sums, **counts))


def _by_id(predictions: Any, outcomes: Any) -> tuple[Ints, dict[str, int]]:
    """The outcome of each prediction, by id and row; -1 for none."""
    here, theirs = parse_ids(predictions["prediction_id"]), parse_ids(outcomes["prediction_id"])
    rows = integers(predictions["row"])
    split = len(predictions)
    calls = dense(*(np.concatenate(both) for both in zip(here[:2], theirs[:2], strict=True)))
    keys = dense(calls, np.concatenate([rows, integers(outcomes["row"])]))
    keys_here, keys_there = np.where(here[2], keys[:split], -1), keys[split:]
    if not len(outcomes):
        return np.full(split, -1, np.int64), {"double_predictions": _doubles(keys_here)}
    found = _match(keys_here, keys_there)
    unmatched = np.ones(len(outcomes), bool)
    unmatched[found[found >= 0]] = False
    is_known_call = np.isin(calls[split:][unmatched], calls[:split])
    return found, {
        "unknown_ids": int((~is_known_call).sum()),
        "unknown_rows": int(is_known_call.sum()),
        "double_predictions": _doubles(keys_here),
    }


def _match(wanted: Ints, keys: Ints) -> Ints:
    """The place among `keys`, each there once, of each wanted one; -1 for none."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(keys)
    sorted_keys = keys[order]
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(keys) - 1)
    return np.where(sorted_keys[at] == wanted, order[at], -1)


def _doubles(keys: Ints) -> int:
    """How many keys are there more than once, each time counted."""
    ordered = np.sort(keys[keys >= 0])
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return 0
    member = np.zeros(len(ordered), bool)
    member[1:] |= same
    member[:-1] |= same
    return int(member.sum())


def _by_entity(predictions: Any, outcomes: Any, tolerance: timedelta) -> tuple[Ints, dict[str, int]]:
    """The outcome of each prediction, by entity and time; -1 for none."""
    here, theirs = text_codes(predictions["entity"], outcomes["entity"])
    times_here = microseconds(predictions["event_at"])
    times_here = np.where(times_here == _NONE, microseconds(predictions["happened_at"]), times_here)
    times = microseconds(outcomes["event_at"])
    known = np.isin(theirs, here[here >= 0])
    keys = dense(np.concatenate([here, theirs]), np.concatenate([times_here, times]))
    split = len(predictions)
    found = _match(np.where(here >= 0, keys[:split], -1), keys[split:])
    unmatched = known.copy()
    unmatched[found[found >= 0]] = False
    ambiguous = 0
    if tolerance > timedelta(0) and unmatched.any():
        nearest, is_single = _latest_before((here, times_here), (theirs, times), unmatched, tolerance)
        nearest[nearest >= 0] = np.where(found[nearest[nearest >= 0]] >= 0, -1, nearest[nearest >= 0])
        candidates = np.flatnonzero(nearest >= 0)
        is_single[candidates] &= np.bincount(nearest[candidates], minlength=split)[nearest[candidates]] == 1
        ambiguous = int((~is_single[candidates]).sum())
        sure = candidates[is_single[candidates]]
        found[nearest[sure]] = sure
        unmatched[candidates] = False
    return found, {
        "unknown_entities": int((~known).sum()),
        "unmatched_times": int(unmatched.sum()),
        "ambiguous": ambiguous,
    }


def _latest_before(
    here: tuple[Ints, Ints], theirs: tuple[Ints, Ints], wanted: Mask, tolerance: timedelta
) -> tuple[Ints, Mask]:
    """For each wanted outcome the entity's latest prediction within the tolerance, -1 for none; and whether it is the
    only one at its time."""
    (entities, times), (wanted_entities, wanted_times) = here, theirs
    order = np.lexsort((times, entities))
    codes = dense(np.concatenate([entities, wanted_entities]), np.concatenate([times, wanted_times]))
    ordered = codes[: len(entities)][order]
    at = np.searchsorted(ordered, codes[len(entities) :], side="right") - 1
    last = np.maximum(at, 0)
    place = order[last]
    gap = wanted_times - times[place]
    within: npt.NDArray[np.bool_] = (at >= 0) & (entities[place] == wanted_entities) & wanted
    within &= gap <= tolerance // timedelta(microseconds=1)
    before = np.maximum(last - 1, 0)
    is_single = (last == 0) | (ordered[before] != ordered[last])
    return np.where(within, place, -1), is_single


def _originals(found: Ints, places: Ints) -> Ints:
    """Places among a part of the outcomes → places among all of them."""
    return np.where(found >= 0, places[found], -1) if len(places) else np.full(len(found), -1, np.int64)


def _disagreeing(outcomes: Any, by_id: Ints, by_entity: Ints) -> int:
    """Predictions with two outcomes of different content."""
    both = (by_id >= 0) & (by_entity >= 0)
    if not both.any():
        return 0
    (labels,) = text_codes(outcomes["label"])
    values = np.asarray(plain(outcomes["value"], pa.float64()).fill_null(np.nan))
    one, other = by_id[both], by_entity[both]
    same = (labels[one] == labels[other]) & (
        (values[one] == values[other]) | (np.isnan(values[one]) & np.isnan(values[other]))
    )
    return int((~same).sum())
