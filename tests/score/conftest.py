"""Files to score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

Write = Callable[..., Path]


@pytest.fixture
def table() -> Callable[[int, int], pa.Table]:
    """Rows for the model `mixed`, with a column more; row 3 of each has a gap where the model takes none."""

    def make(rows: int, seed: int = 0) -> pa.Table:
        rng = np.random.default_rng(seed)
        a: list[Any] = rng.normal(size=rows).tolist()
        if rows > 3:
            a[3] = None
        texts = rng.choice(["x", "ä", ""], rows)
        return pa.table({"a": a, "s": texts, "b": rng.normal(size=rows), "t": texts, "day": np.arange(rows)})

    return make


@pytest.fixture
def lake(tmp_path: Path, table: Callable[[int, int], pa.Table]) -> Path:
    """Three Parquet files in directories named after a column."""
    root = tmp_path / "lake"
    for number, carrier in enumerate(("UA", "B6", "__HIVE_DEFAULT_PARTITION__")):
        directory = root / f"carrier={carrier}"
        directory.mkdir(parents=True)
        parquet.write_table(table(200 + number, number), directory / "part-0.parquet", row_group_size=64)
    (root / "_SUCCESS").write_text("")
    (root / ".hidden.parquet").write_text("not Parquet")
    return root
