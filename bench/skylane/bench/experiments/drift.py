"""How often drift's verdicts are right, on real flights: false alarms, the season, and faults put into single days.

    python -m skylane.bench.experiments.drift            (about five minutes; --seeds 10 for a first look)

The reference is January to September. False alarms: every fifth week is left out of the reference and judged by the
rest, in five turns. The season: October to December. Faults: a day of October to December and a column are drawn, the
fault is put into the day's rows, the pipeline answers them, and the day is judged with the true days before it.
A fault counts where it can be one: the day's column has 100 values, 3 different ones, and a tenth of them changes.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import infer
from skylane.convert.publishing.profile import profile
from skylane.convert.publishing.reference import reference
from skylane.manifest import OutputSpec
from skylane.reference import DAY_S, NumberReference, Reference
from skylane.statistics.drift import BlockStatistics, Verdict, block_statistics, judge
from skylane.statistics.drift.own_blocks import share_limit

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
Change = Callable[[Columns, str, Array, np.random.Generator], Columns]

BEFORE: Final = 10
"""Days before, of which the verdict knows."""
FOLDS: Final = 5
TRIES: Final = 500
"""Draws of a day and a column until one can have the fault."""
OUTPUTS: Final = (
    OutputSpec(name="label", dtype="int64", shape=(None,), role="label"),
    OutputSpec(name="probabilities", dtype="float32", shape=(None, 2), role="probabilities", classes=(0, 1)),
)


@dataclass(frozen=True)
class Flights:
    """All flights with a scheduled departure, and the pipeline that answers them."""

    rows: pd.DataFrame
    times_s: Array
    answers: Array
    """(n, 2) probabilities."""
    pipeline: Any

    @property
    def days(self) -> Array:
        """(n,) day of each flight since 1970, UTC."""
        return (self.times_s // DAY_S).astype(np.int64)

    def columns(self, places: Array) -> Columns:
        """Columns of some rows, numbers in single precision as a journal has them."""
        part = self.rows.iloc[places]
        return {
            str(name): part[name].astype(object).to_numpy()
            if not pd.api.types.is_numeric_dtype(part[name])
            else part[name].to_numpy(np.float32).astype(np.float64)
            for name in part.columns
        }


def load() -> Flights:
    """The flights, answered by a small forest."""
    from examples.flight_rows import features, load_flights, scheduled_at
    from examples.flights import train_small

    flights = load_flights()
    rows, _ = features(flights)
    pipeline, _ = train_small()
    times_s = scheduled_at(flights).dt.tz_localize(None).to_numpy("datetime64[s]").astype(np.float64)
    return Flights(rows, times_s, pipeline.predict_proba(rows), pipeline)


def reference_of(flights: Flights, chosen: Array) -> Reference:
    """Of the chosen rows, (n,) bool."""
    places = np.flatnonzero(chosen)
    layout, frame = infer(flights.pipeline, flights.rows.iloc[places])
    asked = iter(np.linspace(0, len(places) - 1, min(len(places), 20_000)).astype(int))

    def run(tensors: Any) -> dict[str, Array]:
        count = len(next(iter(tensors.values())))
        taken = places[[next(asked) for _ in range(count)]]
        found = flights.answers[taken]
        return {"label": found.argmax(axis=1), "probabilities": found}

    layout = layout.with_missing({column.name: np.nan for column in layout.columns if column.kind == "number"})
    made = profile(layout, frame, "float32", OUTPUTS, run, "training")
    importances = dict.fromkeys(map(str, flights.rows.columns), 1.0)
    return reference(layout, frame, made, flights.times_s[places], importances=importances)


def day_block(flights: Flights, day: int, known: Reference, columns: Columns | None = None) -> BlockStatistics:
    """One day; with other columns they are answered anew."""
    places = np.flatnonzero(flights.days == day)
    answers = flights.answers[places] if columns is None else flights.pipeline.predict_proba(pd.DataFrame(columns))
    return block_statistics(
        flights.columns(places) if columns is None else columns,
        {"probabilities": answers, "label": answers.argmax(axis=1)},
        None,
        known,
        times_s=flights.times_s[places],
        start_s=day * DAY_S,
    )


def verdicts(flights: Flights, days: Sequence[int], known: Reference) -> dict[int, Verdict]:
    """Of these days, each with the true days before."""
    blocks: dict[int, BlockStatistics] = {}
    found = {}
    first = int(flights.days.min())
    for day in days:
        near = range(max(first, day - BEFORE), day + 1)
        blocks |= {each: day_block(flights, each, known) for each in near if each not in blocks}
        found[day] = judge([blocks[each] for each in near[:-1]], blocks[day], known)
    return found


def at_noon(changed: Callable[[Array], Array], values: Array, at: Array) -> Array:
    """Changed from the middle of the day on."""
    return np.where(at >= 0.5, changed(values), values)


def _scaled(factor: float, columns: Columns, name: str, _: Array, __: np.random.Generator) -> Columns:
    return {**columns, name: (columns[name] * factor).astype(np.float32).astype(np.float64)}


def _scaled_at_noon(factor: float, columns: Columns, name: str, at: Array, _: np.random.Generator) -> Columns:
    return {**columns, name: at_noon(lambda values: values * factor, columns[name], at)}


def _celsius(columns: Columns, name: str, _: Array, __: np.random.Generator) -> Columns:
    return {**columns, name: (columns[name] - 32) / 1.8}


def _swapped(columns: Columns, name: str, _: Array, random: np.random.Generator) -> Columns:
    others = [other for other, values in columns.items() if values.dtype == columns[name].dtype and other != name]
    other = str(random.choice(others))
    return {**columns, name: columns[other], other: columns[name]}


def _constant(columns: Columns, name: str, _: Array, random: np.random.Generator) -> Columns:
    values = columns[name]
    return {**columns, name: np.where(np.isnan(values), np.nan, random.choice(values[~np.isnan(values)]))}


def _stuck(columns: Columns, name: str, at: Array, _: np.random.Generator) -> Columns:
    values = columns[name]
    seen = (at < 0.5) & ~np.isnan(values)
    if not seen.any():
        return columns
    last = values[seen][np.argmax(at[seen])]
    return {**columns, name: at_noon(lambda each: np.where(np.isnan(each), np.nan, last), values, at)}


def _clipped(columns: Columns, name: str, _: Array, __: np.random.Generator) -> Columns:
    return {**columns, name: np.minimum(columns[name], np.nanquantile(columns[name], 0.25, method="lower"))}


def _missing(columns: Columns, name: str, _: Array, random: np.random.Generator) -> Columns:
    return {**columns, name: np.where(random.random(len(columns[name])) < 0.5, np.nan, columns[name])}


def _renamed(columns: Columns, name: str, _: Array, __: np.random.Generator) -> Columns:
    top = Counter(columns[name].tolist()).most_common(1)[0][0]
    return {**columns, name: np.where(columns[name] == top, f"{top}-1", columns[name]).astype(object)}


def _new(columns: Columns, name: str, _: Array, random: np.random.Generator) -> Columns:
    return {**columns, name: np.where(random.random(len(columns[name])) < 0.15, "??", columns[name]).astype(object)}


FAULTS: Final[dict[str, tuple[str, Change, str]]] = {
    "×1.609344": ("unit", partial(_scaled, 1.609344), "numbers"),
    "×1.609344 from noon on": ("unit", partial(_scaled_at_noon, 1.609344), "numbers"),
    "×0.454": ("unit", partial(_scaled, 0.454), "numbers"),
    "×100": ("unit", partial(_scaled, 100.0), "numbers"),
    "×1000": ("unit", partial(_scaled, 1000.0), "numbers"),
    "°F → °C": ("unit", _celsius, "temperatures"),
    "sign": ("sign", partial(_scaled, -1.0), "numbers"),
    "two columns swapped": ("swapped", _swapped, "all"),
    "constant": ("constant", _constant, "numbers"),
    "stuck from noon on": ("stuck", _stuck, "numbers"),
    "three quarters clipped": ("clipped", _clipped, "numbers"),
    "half missing": ("missing", _missing, "numbers"),
    "a category renamed": ("renamed", _renamed, "texts"),
    "a new category in 15 %": ("new category", _new, "texts"),
}
"""Name → kind that must be found, change, and to which columns it is made."""


def names_for(which: str, known: Reference) -> list[str]:
    """Columns that a fault is put into; the weekday and the month are one number for a whole day."""
    numbers = [name for name, each in known.columns.items() if isinstance(each, NumberReference)]
    daily = ("month", "weekday")
    if which == "temperatures":
        return ["temp", "dewp"]
    if which == "numbers":
        return [name for name in numbers if name not in daily]
    return [name for name in known.columns if name not in daily and (which == "all" or name not in numbers)]


def is_blind(kind: str, known: Reference, name: str) -> bool:
    """Whether the reference's own days show the same, so that no verdict can tell: precipitation is 0 on most."""
    own = known.columns[name].own
    if kind == "constant":
        return own["distinct"].smallest <= 1
    limits = {"stuck": ("still", 0.15, 0.45), "clipped": ("at largest", 0.05, 0.6), "missing": ("missing", 0.05, 0.45)}
    if kind not in limits:
        return False
    statistic, margin, most = limits[kind]
    return statistic in own and share_limit(own[statistic], 300, margin) > most


def counts(before: Array, after: Array) -> bool:
    """Whether a fault changed enough of a column that has enough values."""
    if before.dtype == object:
        return bool((before != after).any())
    known = before[np.isfinite(before)]
    changed = (before != after)[np.isfinite(before)]
    return len(known) >= 100 and len(np.unique(known)) >= 3 and changed.mean() >= 0.1


def faults(flights: Flights, known: Reference, days: Sequence[int], seeds: int) -> list[str]:
    """A row of the table for each fault."""
    blocks = {day: day_block(flights, day, known) for day in range(days[0] - BEFORE, days[-1] + 1)}
    lines: list[str] = []
    for fault, (kind, change, which) in FAULTS.items():
        names = [name for name in names_for(which, known) if not is_blind(kind, known, name)]
        alarms = named = 0
        missed: Counter[str] = Counter()
        for seed in range(seeds):
            random = np.random.default_rng([seed, len(lines)])
            for _ in range(TRIES):
                day, name = int(random.choice(days)), str(random.choice(names))
                places = np.flatnonzero(flights.days == day)
                columns = flights.columns(places)
                changed = change(columns, name, flights.times_s[places] / DAY_S - day, random)
                if counts(columns[name], changed[name]):
                    break
            current = day_block(flights, day, known, changed)
            found = judge([blocks[each] for each in range(day - BEFORE, day)], current, known)
            hits = [each for each in found.findings if name in each.columns]
            alarms += bool(hits)
            named += any(each.kind == kind for each in hits)
            if not any(each.kind == kind for each in hits):
                missed[f"{name}: {hits[0].kind if hits else 'none'}"] += 1
        left = ", ".join(f"{what} {count}" for what, count in missed.most_common(4))
        lines.append(f"| {fault} | {alarms} | {named} | {left} |")
        print(lines[-1], flush=True)
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of docs/drift.md."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.experiments.drift", description="see the module")
    parser.add_argument("--seeds", type=int, default=100, help="days for each fault (default: %(default)s)")
    parser.add_argument("--only", choices=("alarms", "faults"), help="one part")
    options = parser.parse_args(argv)
    flights = load()
    days, october = flights.days, int(np.datetime64("2013-10-01").astype("datetime64[D]").astype(np.int64))
    known = reference_of(flights, days < october)
    if options.only != "faults":
        total: Counter[str] = Counter()
        for fold in range(FOLDS):
            left_out = (days < october) & (days // 7 % FOLDS == fold)
            own = reference_of(flights, (days < october) & ~left_out)
            found = verdicts(flights, np.unique(days[left_out]).tolist(), own)
            total += Counter(verdict.status for verdict in found.values())
        print(f"own days, cross-validated: {dict(total)}", flush=True)
        found = verdicts(flights, np.unique(days[days >= october]).tolist(), known)
        print(f"October to December: {dict(Counter(verdict.status for verdict in found.values()))}")
        for day, verdict in found.items():
            if verdict.status == "alarm":
                print(f"  {np.datetime64(day, 'D')}: {verdict.text}", flush=True)
    if options.only != "alarms":
        print("| fault | alarms about the column | named | otherwise |\n|---|---|---|---|")
        faults(flights, known, np.arange(october, october + 89).tolist(), options.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
