"""A file's answers are the server's, bit for bit, however the server's callers divide the rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skylane.client import Client
from skylane.score import Scorer, score
from support import models
from support.server import serving

SIZES = (1, 2, 3, 8, 64, 1000)
"""Rows of a request, in turn."""


def parts(rows: int) -> Iterator[slice]:
    start, turn = 0, 0
    while start < rows:
        stop = min(rows, start + SIZES[turn % len(SIZES)])
        yield slice(start, stop)
        start, turn = stop, turn + 1


@pytest.mark.parametrize(
    "rows", [pytest.param(3_000, id="some rows"), pytest.param(100_000, id="100,000 rows", marks=pytest.mark.slow)]
)
def test_a_linear_operator_answers_alike(tmp_path: Path, rows: int) -> None:
    models.logistic(tmp_path)
    features = np.random.default_rng(0).normal(size=(rows, 20)).astype(np.float32)
    table = pa.table({"features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 20)})
    scored = score(table, Scorer.load("logistic", tmp_path))
    with serving(tmp_path) as server, Client(server.address) as client:
        requests = ({"features": features[part]} for part in parts(rows))
        answers = list(client.predict_many("logistic", requests))
    served = np.concatenate([answer.outputs["probabilities"] for answer in answers])
    for place in (0, 1):
        assert np.array_equal(scored[f"probabilities:{place}"].to_numpy(), served[:, place])
    assert np.array_equal(scored["label"].to_numpy(), np.concatenate([answer.outputs["label"] for answer in answers]))


def test_texts_numbers_and_gaps_are_bound_alike(small_models: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 500
    columns = {
        "a": rng.normal(size=rows) * 1e30,
        "s": rng.choice(["x", "ä", ""], rows).tolist(),
        "b": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
        "t": [None if gap else "y" for gap in rng.random(rows) < 0.2],
    }
    scored = score(pa.table(columns), "mixed", small_models)
    with serving(small_models) as server, Client(server.address) as client:
        requests = [{name: column[part] for name, column in columns.items()} for part in parts(rows)]
        answers = list(client.predict_many("mixed", requests))
    numbers = np.concatenate([answer.outputs["numbers_out"] for answer in answers])
    strings = np.concatenate([answer.outputs["strings_out"] for answer in answers])
    for place in (0, 1):
        assert np.array_equal(scored[f"numbers_out:{place}"].to_numpy(), numbers[:, place], equal_nan=True)
        assert scored[f"strings_out:{place}"].to_pylist() == strings[:, place].tolist()
