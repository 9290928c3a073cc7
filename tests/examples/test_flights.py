"""The flights example, on a few thousand of its flights."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from examples import flight_rows, flights
from examples.flight_rows import FEATURES, Split
from skylane.convert import Published, publish
from skylane.onnx_runtime import onnxruntime as ort


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return flight_rows.load_flights()


@pytest.fixture(scope="module")
def small() -> tuple[Pipeline, Split]:
    return flights.train_small()


@pytest.fixture(scope="module")
def published(small: tuple[Pipeline, Split], tmp_path_factory: pytest.TempPathFactory) -> Published:
    fitted, parts = small
    return publish(
        fitted, parts.later, name=flights.NAME, repository=tmp_path_factory.mktemp("models"), target=parts.later_late
    )


def test_joins_keep_every_flight_and_its_weather(frame: pd.DataFrame) -> None:
    assert len(frame) == 336_776
    assert frame["temp"].isna().mean() < 0.01, "almost every flight finds the weather of its hour"


def test_cancelled_flights_are_left_out_and_nothing_tells_the_delay(frame: pd.DataFrame) -> None:
    rows, late = flight_rows.features(frame)
    assert (len(rows), len(frame) - len(rows)) == (327_346, 9_430)
    assert list(rows.columns) == FEATURES
    assert not {"arr_delay", "dep_delay", "dep_time", "arr_time", "air_time", "tailnum"} & set(rows.columns)
    assert set(np.unique(late)) == {0, 1}


def test_the_split_is_by_time(frame: pd.DataFrame) -> None:
    parts = flight_rows.split(*flight_rows.features(frame))
    assert (parts.train["month"].max(), parts.later["month"].min()) == (9, 10)
    assert (len(parts.train), len(parts.later)) == (244_737, 82_609)


def test_the_model_beats_the_base_rate_on_later_months(small: tuple[Pipeline, Split]) -> None:
    found = flights.metrics(*small)
    assert found["auc_later"] > 0.58
    assert found["log_loss_train"] < found["log_loss_base_train"]


def test_the_published_graph_answers_later_flights_as_the_pipeline(
    small: tuple[Pipeline, Split], published: Published
) -> None:
    fitted, parts = small
    np.testing.assert_allclose(ask(published, parts.later), fitted.predict_proba(parts.later), atol=1e-6)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("carrier", "ZZ", id="an airline never seen"),
        pytest.param("dest", None, id="no destination"),
        pytest.param("wind_gust", np.nan, id="no gusts reported"),
        pytest.param("plane_age", np.nan, id="an unknown plane"),
        pytest.param("visib", 1e6, id="a view beyond the horizon"),
    ],
)
def test_strange_rows_are_answered_as_the_pipeline_does(
    small: tuple[Pipeline, Split], published: Published, column: str, value: Any
) -> None:
    fitted, parts = small
    rows = parts.later.head(20).copy()
    rows[column] = pd.Series([value] * 20, dtype=rows[column].dtype)
    np.testing.assert_allclose(ask(published, rows), fitted.predict_proba(rows), atol=1e-6)


def ask(published: Published, rows: pd.DataFrame) -> Any:
    session = ort.InferenceSession((published.path / "model.onnx").read_bytes())
    return session.run(["probabilities"], published.conversion.layout.tensors(rows, "float32"))[0]


def test_every_column_may_have_gaps(published: Published) -> None:
    assert [column.name for column in published.manifest.columns if column.missing is None] == []
    assert [tensor.name for tensor in published.manifest.tensors] == ["numbers", "strings"]


def test_example_rows_are_later_flights_with_gaps() -> None:
    rows = flight_rows.example_rows(50)
    assert (len(rows), list(rows.columns)) == (50, FEATURES)
    assert set(rows["month"]) == {10, 11, 12}
    assert rows.isna().any().any()


def test_data_that_is_not_there_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert flights.main(["--models", str(tmp_path)]) == 1
    assert "pip install 'skylane[examples]'" in capsys.readouterr().err
