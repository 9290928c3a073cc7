"""Imports that are not timed: how fast a graph is would only cost time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from skylane.convert.importing import version as versions
from skylane.convert.importing.sample import Sample, inputs_of_sample
from skylane.convert.importing.version import ImportedVersion, Source, import_graph
from support import graphs


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes a microsecond for each row."""

    def latencies(candidates: list[Any], sizes: Any) -> list[dict[str, float]]:
        return [{str(size): float(size) for size in sizes} for _ in candidates]

    monkeypatch.setattr(versions, "latencies", latencies)


@pytest.fixture
def importing(tmp_path: Path) -> Callable[..., ImportedVersion]:
    """Import a graph into `models` of this test's own directory, on a sample or on random rows."""

    def run(made: onnx.ModelProto | Path, sample: Sample | None = None, **options: Any) -> ImportedVersion:
        path = made if isinstance(made, Path) else graphs.save(made, tmp_path / "model.onnx")
        if sample is not None:
            options["rows_of"] = lambda inputs: inputs_of_sample(sample, inputs, "rows.npz")
        return import_graph(path, "m", tmp_path / "models", Source("onnx", "model.onnx"), **options)

    return run
