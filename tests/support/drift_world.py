"""A made-up world with seasons, weather that persists, and a model that answers: rows for tests of drift. Seeded."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np

from skylane.profile import Bins, NumberProfile, Profile, TextProfile
from skylane.reference import DAY_S, Reference
from skylane.statistics.drift import BlockStatistics, block_statistics
from skylane.statistics.drift.build import Rows, build_reference

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]

FIRST_DAY: Final = 15_706
"""1 January 2013, in days since 1970."""
ROWS: Final = 400
CITIES: Final = np.array(["Basel", "Bern", "Genf", "Zug"], object)


def day_rows(day: int, seed: int = 0, rows: int = ROWS) -> tuple[Columns, Array, Array]:
    """Columns, probability of "late" (n,), and times (n,) of one day: weather of the hour, and what differs by row."""
    random = np.random.default_rng([seed, day])
    weather = np.random.default_rng([7, day // 3])  # lasts three days
    hour = np.sort(random.uniform(5, 23, rows))
    season = -np.cos(2 * np.pi * (day - FIRST_DAY) / 365)
    temp_c = 12 + 9 * season + weather.normal(0, 3) + 4 * np.sin((hour - 9) / 24 * 2 * np.pi)
    temp = np.round(
        np.round(temp_c + np.random.default_rng([8, day]).normal(0, 1, 24)[hour.astype(int)], 1) * 1.8 + 32, 2
    )
    dew = np.round(np.round(temp_c - 2 - weather.gamma(2, 2), 1) * 1.8 + 32, 2)
    gust = np.random.default_rng([9, day]).gamma(6, 0.2, 24)[hour.astype(int)]
    wind = np.round(weather.gamma(6, 1.5) * gust) * 1.15078
    price = random.lognormal(4.6, 0.5, rows)
    age = random.integers(0, 40, rows).astype(np.float64)
    age[random.random(rows) < 0.1] = np.nan
    city = CITIES[random.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])]
    load = random.normal(0.02 * wind - 0.5 + 0.1 * (city == "Zug"), 0.2)
    late = 1 / (1 + np.exp(-(load - 1 + 0.1 * np.nan_to_num(age, nan=15.0) / 10)))
    columns = {"temp": temp, "dewp": dew, "wind_speed": wind, "price": price, "age": age, "city": city}
    return columns, late, day * DAY_S + hour * 3600


def answers_of(late: Array) -> Columns:
    """What a classifier of two classes answers."""
    return {
        "label": np.where(late >= 0.5, "late", "on_time").astype(object),
        "probabilities": np.stack([1 - late, late], 1),
    }


@cache
def reference_of(days: int = 270, first: int = FIRST_DAY, rows: int = ROWS) -> Reference:
    """Of so many days."""
    parts = [day_rows(day, rows=rows) for day in range(first, first + days)]
    columns = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    late, times_s = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    return build_reference(
        Rows(columns, times_s, profile_of(columns, late), answers_of(late), np.arange(len(late)), {"wind_speed": 0.05})
    )


def profile_of(columns: Mapping[str, Array], late: Array) -> Profile:
    """Histograms with twenty bins of about as many rows."""
    made: dict[str, NumberProfile | TextProfile] = {}
    for name, values in columns.items():
        if values.dtype == object:
            texts, counts = np.unique(values.astype(str), return_counts=True)
            order = np.argsort(-counts)
            named = {str(texts[place]): int(counts[place]) for place in order}
            made[name] = TextProfile(counts=named, other=0, distinct=len(named), missing=0.0)
            continue
        finite = values[np.isfinite(values)]
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, 21), method="inverted_cdf"))
        made[name] = NumberProfile(bins=_bins(finite, edges), missing=float(np.isnan(values).mean()))
    even = np.arange(21) / 20
    answers = {"probabilities:on_time": _bins(1 - late, even), "probabilities:late": _bins(late, even)}
    labels = {"on_time": int((late < 0.5).sum()), "late": int((late >= 0.5).sum())}
    return Profile(of="training", rows=len(late), columns=made, answered_rows=len(late), labels=labels, answers=answers)


def _bins(values: Array, edges: Array) -> Bins:
    counts, _ = np.histogram(values, edges)
    return Bins(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def block(
    day: int,
    reference: Reference,
    change: Callable[[Columns, Array], Columns] | None = None,
    seed: int = 1,
    rows: int = ROWS,
    weights: Array | None = None,
) -> BlockStatistics:
    """One day measured. `change` gets the columns and the share of the day at which each row happened."""
    columns, late, times_s = day_rows(day, seed, rows)
    if change is not None:
        columns = change(columns, times_s / DAY_S - day)
    return block_statistics(columns, answers_of(late), weights, reference, times_s=times_s, start_s=day * DAY_S)


def history(day: int, reference: Reference, seed: int = 1, blocks: int = 8) -> list[BlockStatistics]:
    """The blocks before a day, the oldest first."""
    return [block(before, reference, seed=seed) for before in range(day - blocks, day)]
