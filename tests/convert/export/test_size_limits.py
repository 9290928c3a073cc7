"""Forests that are too large: refused by their number of nodes, and never one that would have fitted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import Ridge

from skylane.convert.errors import Unconvertible
from skylane.convert.export import size_limits
from skylane.convert.export.emitters import emit
from skylane.convert.export.size_limits import available_bytes, check_size
from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import shares_leaves, task_of, tree_nodes

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4))
NUMBERS = X[:, 0] + RANDOM.normal(size=400)
CLASSES = RANDOM.integers(0, 3, 400)


@pytest.mark.parametrize(
    ("model", "target"),
    [
        pytest.param(RandomForestRegressor(5), NUMBERS, id="numbers"),
        pytest.param(ExtraTreesRegressor(5, max_depth=5), NUMBERS, id="shallow trees"),
        pytest.param(RandomForestClassifier(5), CLASSES > 0, id="two classes"),
        pytest.param(RandomForestClassifier(5), CLASSES, id="three classes"),
        pytest.param(RandomForestClassifier(5), RANDOM.integers(0, 20, 400), id="twenty classes"),
    ],
)
def test_a_graph_is_at_least_as_large_as_is_reckoned(model: Any, target: Any) -> None:
    model.fit(X, target)
    layout, _ = infer(model, X)
    graph = emit(model, layout, "float32", task_of(model)).ByteSize()
    assert graph / 3 < tree_nodes(model) * size_limits.NODE_BYTES[shares_leaves(model)] < graph


@pytest.mark.parametrize(
    ("free", "graph_bytes_max", "why"),
    [
        pytest.param(None, 1000, r"a graph of .* GB or more, and a file of ONNX holds", id="no file holds it"),
        pytest.param(
            10**5, 10**9, r"of memory or more to convert, and 0.0 GB are free: .* larger machine", id="memory"
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    free: int | None, graph_bytes_max: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size_limits, "GRAPH_BYTES_MAX", graph_bytes_max)
    model = RandomForestRegressor(2, random_state=0).fit(X, NUMBERS)
    with pytest.raises(Unconvertible, match=why):
        check_size(model, free)


def test_all_others_are_not() -> None:
    check_size(RandomForestRegressor(2).fit(X, NUMBERS), 10**9)
    check_size(RandomForestRegressor(2).fit(X, NUMBERS), None)
    check_size(Ridge().fit(X, NUMBERS), 0)


@pytest.mark.parametrize(
    ("told", "bytes_"),
    [
        pytest.param("MemTotal: 9 kB\nMemAvailable:    512 kB\n", 512 * 1024, id="kilobytes"),
        pytest.param("MemTotal: 9 kB\n", None, id="an old kernel"),
        pytest.param("MemAvailable: lots\n", None, id="no number"),
        pytest.param(None, None, id="another system"),
    ],
)
def test_memory_is_what_linux_says(told: str | None, bytes_: int | None, tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    if told is not None:
        path.write_text(told, encoding="ascii")
    assert available_bytes(path) == bytes_
