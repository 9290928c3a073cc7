"""Small pipelines and their rows, trained once for all tests of the converter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skylane.convert import Published, publish
from skylane.convert.publishing import conversion

ROWS = 300


@dataclass(frozen=True)
class Trained:
    """A fitted pipeline, rows that it takes, and the truth about them."""

    estimator: Any
    rows: Any
    target: Any


def mixed_frame(rows: int = ROWS) -> tuple[pd.DataFrame, "np.ndarray[Any, Any]"]:
    """Texts, numbers and gaps, in an order that mixes their kinds; some of the numbers are whole."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "city": random.choice(["Bern", "Köln", "Oslo"], rows),
            "income": random.lognormal(10, 0.5, rows),
            "plan": random.choice(["free", "paid"], rows),
        }
    )
    target = (frame["income"] > 20_000).to_numpy(np.bool_) ^ (frame["plan"] == "paid").to_numpy(np.bool_)
    frame.loc[::9, "income"] = np.nan
    return frame, np.where(target, "stays", "leaves")


@pytest.fixture(scope="session")
def mixed() -> Trained:
    """One-hot texts, imputed and scaled numbers, logistic regression; branches name columns out of order."""
    frame, target = mixed_frame()
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["plan", "city"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["income", "age"]),
        ]
    )
    return Trained(make_pipeline(columns, LogisticRegression()).fit(frame, target), frame, target)


@pytest.fixture(scope="session")
def linear() -> Trained:
    """A scaler and logistic regression on an array of four numbers."""
    rows = np.random.default_rng(0).normal(size=(200, 4))
    target = (rows[:, 0] + rows[:, 1] > 0).astype(np.int64)
    return Trained(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, target), rows, target)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that ask what is right: how fast it is would only cost time. What is tried first counts as fastest."""

    def latencies(candidates: list[Any], sizes: Any) -> list[dict[str, float]]:
        return [dict.fromkeys(("1", "64", "1024"), float(index + 1)) for index in range(len(candidates))]

    monkeypatch.setattr(conversion, "latencies", latencies)


@pytest.fixture
def publish_to(tmp_path: Path) -> Callable[..., Published]:
    """Publish into a repository of this test's own."""

    def into(trained: Trained, name: str = "model", **options: Any) -> Published:
        return publish(trained.estimator, trained.rows, name=name, repository=tmp_path / "models", **options)

    return into


@pytest.fixture
def saved(tmp_path: Path, mixed: Trained) -> tuple[Path, Path]:
    """The mixed pipeline as a skops file, and its rows with the target as a CSV file."""
    pipeline, rows = tmp_path / "pipeline.skops", tmp_path / "rows.csv"
    skops.io.dump(mixed.estimator, pipeline)
    mixed.rows.assign(outcome=mixed.target).to_csv(rows, index=False)
    return pipeline, rows
