"""Event logs for the laws: out of order, late, corrected, doubled, with gaps."""

from datetime import timedelta

import numpy as np
from hypothesis import strategies as st

from skylane.features import (
    Parquet,
    View,
    col,
    count,
    distinct,
    last,
    max_of,
    mean,
    min_of,
    quantile,
    std,
    sum_of,
)  # fmt: skip
from skylane.features.authoring.view import Feature
from skylane.features.compiled import CompiledView
from skylane.features.evaluation.rows import SourceRows
from support.feature_brute_force import SECOND, Row

ENTITIES, HORIZON_S = 3, 60

VALUES = st.one_of(
    st.none(), st.integers(-3, 3).map(float), st.floats(-1e9, 1e9, allow_subnormal=True),
    st.sampled_from([0.1, 1e-300, 1e150, -1e150, 1 / 3]),
)  # fmt: skip
SECONDS = st.integers(0, HORIZON_S).map(lambda second: second * SECOND)


def rows(*, ahead: bool = False) -> st.SearchStrategy[list[Row]]:
    """Rows in any order. `ahead`: some are known before they happen."""
    delays = st.one_of(st.just(0), st.integers(-20 if ahead else 0, 40))
    row = st.builds(
        lambda entity, happened, delay, value, event: Row(entity, happened, happened + delay * SECOND, value, event),
        st.integers(0, ENTITIES - 1), SECONDS, delays, VALUES, st.integers(0, 12),
    )  # fmt: skip
    return st.lists(row, max_size=25)


INSTANTS = st.integers(-5, HORIZON_S + 60).map(lambda second: second * SECOND)
QUERIES = st.lists(st.tuples(st.integers(-1, ENTITIES - 1), INSTANTS), min_size=1, max_size=12)


def source_rows(log: list[Row], *, events: bool) -> SourceRows:
    return SourceRows(
        np.array([row.entity for row in log], np.int64),
        ENTITIES,
        np.array([row.happened for row in log], np.int64),
        np.array([row.known for row in log], np.int64),
        {"value": np.array([np.nan if row.value is None else row.value for row in log]) + 0.0},
        np.array([row.event for row in log], np.int64) if events else None,
    )


def table_view(ttl_s: float = 30) -> CompiledView:
    return View(
        "plane", entity="tail", source=Parquet("p.parquet"), happened_at="happened", known_at="known",
        known_ahead=True, ttl=timedelta(seconds=ttl_s), features={"value": col("value")},
    ).compiled  # fmt: skip


def window_view(*, events: bool, tile_s: int = 5, ttl_s: int = 30) -> CompiledView:
    value, features = col("value"), dict[str, Feature]()
    for tiles in (1, 4):
        over = timedelta(seconds=tile_s * tiles)
        features |= {
            f"count_{tiles}": count(over=over),
            f"sum_{tiles}": sum_of(value, over=over),
            f"mean_{tiles}": mean(value, over=over),
            f"std_{tiles}": std(value, over=over),
            f"min_{tiles}": min_of(value, over=over),
            f"max_{tiles}": max_of(value, over=over),
            f"last_{tiles}": last(value, n=2, over=over),
            f"distinct_{tiles}": distinct(value, over=over),
            f"median_{tiles}": quantile(value, 0.5, over=over),
            f"q90_{tiles}": quantile(value, 0.9, over=over),
        }
    return View(
        "delays", entity="origin", source=Parquet("d.parquet"), happened_at="happened", known_at="known",
        known_ahead=True, event="flight" if events else None, ttl=timedelta(seconds=ttl_s),
        tile=timedelta(seconds=tile_s), features=features,
    ).compiled  # fmt: skip
