"""How far a batch reaches into the answer to a row, and that answers do not depend on it where that can be had."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from skylane.policy import Policy
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository.row_independence import TRIAL_S_MAX, RowIndependence, row_independence
from skylane.server.repository.verified_loading import load_version
from support import models

Array = np.ndarray[Any, Any]
GOLDEN: Final = [np.arange(8, dtype=np.float32).reshape(4, 2)]


def each_alone(inputs: Sequence[Array]) -> list[Array]:
    return [inputs[0].sum(axis=1)]


def other_alone(inputs: Sequence[Array]) -> list[Array]:
    return [inputs[0].sum(axis=1) + (len(inputs[0]) == 1) * np.float32(1e-6)]


def by_the_batch(inputs: Sequence[Array]) -> list[Array]:
    return [inputs[0].sum(axis=1) / inputs[0].max()]


def gaps(inputs: Sequence[Array]) -> list[Array]:
    return [np.full(len(inputs[0]), np.nan, np.float32)]


@pytest.mark.parametrize(
    ("run", "operators", "expected"),
    [
        pytest.param(each_alone, (), RowIndependence.COMPLETE, id="rows that are equal in every batch"),
        pytest.param(gaps, (), RowIndependence.COMPLETE, id="NaN is equal to NaN"),
        pytest.param(other_alone, (), RowIndependence.FROM_TWO_ROWS, id="a lone row that differs"),
        pytest.param(by_the_batch, (), RowIndependence.NONE, id="rows that differ with those beside them"),
        pytest.param(each_alone, ("SVMRegressor",), RowIndependence.FROM_TWO_ROWS, id="an operator that may differ"),
        pytest.param(each_alone, ("DynamicQuantizeLinear",), RowIndependence.NONE, id="an operator that takes a range"),
    ],
)
def test_it_is_found_out(run: Callable[..., list[Array]], operators: Sequence[str], expected: RowIndependence) -> None:
    assert row_independence(run, GOLDEN, operators, lambda: 0.0) is expected


def test_a_graph_that_takes_long_is_not_tried() -> None:
    runs: list[int] = []
    instants = iter([0.0, TRIAL_S_MAX * 2])

    def run(inputs: Sequence[Array]) -> list[Array]:
        runs.append(len(inputs[0]))
        return each_alone(inputs)

    assert row_independence(run, GOLDEN, (), lambda: next(instants)) is RowIndependence.FROM_TWO_ROWS
    assert len(runs) == 1


def logistic(root: Path) -> LoadedModel:
    directory = models.logistic(root)
    return load_version(directory, "logistic", 1, Policy())


@pytest.mark.parametrize("rows_each", [1, 2, 3, 7, 64])
def test_a_linear_operator_answers_a_row_alike_in_every_batch(tmp_path: Path, rows_each: int) -> None:
    model = logistic(tmp_path)
    rows = np.random.default_rng(3).normal(size=(448, 20)).astype(np.float32)
    together = model.runner.run([rows])
    parts = [model.runner.run([rows[start : start + rows_each]]) for start in range(0, len(rows), rows_each)]
    for whole, part in zip(together, zip(*parts, strict=True), strict=True):
        assert np.array_equal(whole, np.concatenate(part))
    assert model.rows_are_independent


def test_without_the_second_row_it_would_not(tmp_path: Path) -> None:
    model = logistic(tmp_path)
    alone = getattr(model.runner, "_run")  # noqa: B009 - of the session behind it
    rows = np.random.default_rng(3).normal(size=(448, 20)).astype(np.float32)
    together = model.runner.run([rows])[1]
    assert not np.array_equal(together, np.concatenate([alone([rows[i : i + 1]])[1] for i in range(len(rows))]))
