"""Scoring a Parquet file beside a bare loop that does the same: rows a second, and the ratio in each round.

    python -m skylane.bench.experiments.batch_scoring --rounds 5

Both read the same file, run the same graph, write the same columns as Parquet, and take the SHA-256 of what they read
and wrote. The bare loop has one thread of its own and no rules: it knows the columns, and trusts the rows.
Models: a logistic regression with 20 inputs and a forest of 50 trees, converted when it starts.
"""

import argparse
import hashlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.convert import convert_pipeline
from skylane.onnx_options import PROVIDERS, session_options
from skylane.onnx_runtime import onnxruntime as ort
from skylane.score.command import main as score

FEATURES: Final = [f"x{number}" for number in range(20)]
BATCH_ROWS: Final = 65_536


def _publish(models: Path) -> list[str]:
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(4000, len(FEATURES))).astype(np.float32), columns=FEATURES)
    truth = (rows.sum(axis=1) + rng.normal(size=len(rows)) > 0).astype(int)
    pipelines: dict[str, Any] = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(50, max_depth=10, random_state=0),
    }
    for name, pipeline in pipelines.items():
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            convert_pipeline(pipeline.fit(rows[:3000], truth[:3000]), rows[3000:]).publish(name, models)
    return list(pipelines)


def _bare(graph: Path, source: Path, target: Path) -> None:
    """What anybody would write."""
    session = ort.InferenceSession(str(graph), session_options(ort), providers=list(PROVIDERS))
    name = session.get_inputs()[0].name
    _sha256(source)
    writer = None
    for batch in parquet.ParquetFile(source).iter_batches(batch_size=BATCH_ROWS):
        inputs = np.empty((len(batch), len(FEATURES)), np.float32)
        for place, column in enumerate(batch.columns):
            inputs[:, place] = column.to_numpy()
        label, probabilities = session.run(None, {name: inputs})
        answers = [pa.array(label), *(pa.array(np.ascontiguousarray(column)) for column in probabilities.T)]
        names = [*batch.schema.names, "label", "probabilities:0", "probabilities:1"]
        scored = pa.RecordBatch.from_arrays([*batch.columns, *answers], names=names)
        writer = writer or parquet.ParquetWriter(target, scored.schema)
        writer.write_batch(scored)
    assert writer is not None
    writer.close()
    _sha256(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.experiments.batch_scoring", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        names = _publish(root / "models")
        rng = np.random.default_rng(1)
        rows = pa.table({name: rng.normal(size=options.rows).astype(np.float32) for name in FEATURES})
        parquet.write_table(rows, root / "in.parquet", row_group_size=131_072)
        print(f"{options.rows:,} rows of {len(FEATURES)} float32, {options.rounds} rounds; {platform.machine()},")
        versions = f"Python {platform.python_version()}, ONNX Runtime {ort.__version__}, pyarrow {pa.__version__}"
        print(versions, flush=True)
        for name in names:
            _compare(name, root, options.rows, options.rounds)
    return 0


def _compare(name: str, root: Path, rows: int, rounds: int) -> None:
    graph, source = root / "models" / name / "1" / "model.onnx", root / "in.parquet"
    arguments = [str(source), str(root / "out.parquet"), "--model", name, "--models", str(root / "models")]
    more = ["--quiet", "--restart"]
    contestants: dict[str, Callable[[], object]] = {
        "bare loop": lambda: _bare(graph, source, root / "bare.parquet"),
        "bare loop, once more": lambda: _bare(graph, source, root / "bare.parquet"),
        "skylane score, 1 worker": lambda: score([*arguments, *more, "--workers", "1"]),
        "skylane score": lambda: score([*arguments, *more]),
    }
    taken: dict[str, list[tuple[float, float]]] = {label: [] for label in contestants}
    for _ in range(rounds):
        for label, work in contestants.items():
            taken[label].append(_seconds(work))
    base = taken["bare loop"]
    for label, values in taken.items():
        rate = rows / statistics.median(seconds for seconds, _ in values)
        ratios = sorted(bare / own for (bare, _), (own, _) in zip(base, values, strict=True))
        cpu = sorted(bare / own for (_, bare), (_, own) in zip(base, values, strict=True))
        print(f"{name:>9}  {label:<24} {rate:12,.0f} rows/s  {statistics.median(ratios):5.2f} of the bare loop "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}); by CPU {statistics.median(cpu):.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
