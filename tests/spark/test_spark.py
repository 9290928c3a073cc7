"""A real Spark, classic and Connect, gives the answers that one process gives; bad rows are kept with the reason."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'skylane[spark]'")

from skylane.score import ScoreError, score
from skylane.score.selection import select
from skylane.spark import frames

PROGRAM: Final = Path(__file__).with_name("scored.py")
ROWS: Final = 3000

needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="Spark needs Java: apt install default-jre-headless"
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the model `mixed`; every hundredth row has a gap where the model takes none."""
    rng = np.random.default_rng(0)
    a: list[Any] = rng.normal(size=ROWS).tolist()
    a[::100] = [None] * (ROWS // 100)
    texts = rng.choice(["x", "ä", ""], ROWS)
    table = pa.table({"a": a, "s": texts, "b": rng.normal(size=ROWS), "t": texts, "row": np.arange(ROWS)})
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    parquet.write_table(table, path)
    return path


@pytest.mark.slow
@needs_java
@pytest.mark.parametrize("mode", ["classic", "connect"])
def test_answers_are_those_of_one_process(small_models: Path, rows: Path, tmp_path: Path, mode: str) -> None:
    target = tmp_path / "scored.parquet"
    command = [sys.executable, "-P", str(PROGRAM), mode, str(rows), str(target), "mixed", str(small_models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    scored = parquet.read_table(target).sort_by("row")
    expected = score(parquet.read_table(rows), "mixed", small_models, rejected="null")
    for name in expected.column_names:
        assert _comparable(scored[name]) == _comparable(expected[name]), name
    reasons = scored["_reason"].to_pylist()
    assert set(reasons[::100]) == {"column 'a': the pipeline accepts no gaps here, but the value is missing"}
    assert all(reason is None for row, reason in enumerate(reasons) if row % 100)


def _comparable(column: pa.ChunkedArray) -> list[Any]:
    return ["nan" if value != value else value for value in column.to_pylist()]


class TestWorkers:
    """What a worker checks before it scores."""

    @pytest.fixture
    def answers(self, small_models: Path) -> Any:
        return frames._mapper(select("mixed", small_models), "identity", (), "")

    @pytest.mark.parametrize("name", frames.PACKAGES)
    def test_a_python_without_a_package_is_named_with_what_to_do(
        self, answers: Any, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = importlib.metadata.version

        def version(package: str) -> str:
            if package == name:
                raise importlib.metadata.PackageNotFoundError(package)
            return real(package)

        monkeypatch.setattr(importlib.metadata, "version", version)
        with pytest.raises(RuntimeError, match=f"{sys.executable}, has no {name}: install .* PYSPARK_PYTHON"):
            next(answers(iter([])))

    def test_another_release_of_onnx_runtime_is_refused(self, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        real = importlib.metadata.version
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "onnxruntime" else real(name))
        with pytest.raises(RuntimeError, match=r"has onnxruntime 0\.1, and the driver \d"):
            next(answers(iter([])))

    def test_the_same_python_scores(self, answers: Any) -> None:
        batch = pa.RecordBatch.from_pydict({"a": [1.0, None], "s": ["x", "y"], "b": [1.0, 2.0], "t": ["x", "y"]})
        (scored,) = answers(iter([batch]))
        assert scored["numbers_out:0"].to_pylist() == [1.0, None]
        assert scored["_reason"].to_pylist()[0] is None


class _Frame:
    """As much of a frame as is looked at before anything runs."""

    def __init__(self, **columns: Any) -> None:
        from pyspark.sql.types import StructField, StructType

        self.columns = list(columns)
        self.schema = StructType([StructField(name, kind) for name, kind in columns.items()])


def test_columns_that_do_not_fit_are_refused_before_anything_runs(small_models: Path) -> None:
    from pyspark.sql.types import DoubleType

    with pytest.raises(ScoreError, match="'s', 'b' and 't' are missing"):
        frames.score(_Frame(a=DoubleType()), "mixed", small_models)


def test_a_column_of_the_reasons_name_is_refused(small_models: Path) -> None:
    from pyspark.sql.types import DoubleType

    with pytest.raises(ScoreError, match="'_reason' already"):
        frames.score(_Frame(_reason=DoubleType()), "mixed", small_models)
