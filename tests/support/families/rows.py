"""Rows that are hard on graphs, and pipelines trained on them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)

Array = np.ndarray[Any, Any]
Rows = Literal["tame", "hard", "gaps", "strings"]
Target = Literal["classes", "pair", "numbers", "nothing", "places"]
"""What is predicted; of a pair of classes, one is what is looked for."""

KINDS: Final[tuple[Rows, ...]] = ("tame", "hard", "gaps", "strings")
TRAINED_ON, HELD_OUT, FRESH = 160, 120, 80
WORDS: Final = ("rain", "Snow", "Köln", "a", "don't", "wind", "日本", "late", "x_1")


@dataclass(frozen=True)
class Family:
    """Estimators of one kind."""

    name: str
    estimators: st.SearchStrategy[Any]
    """With settings drawn."""
    target: Target = "classes"
    kinds: tuple[Rows, ...] = KINDS
    scaled: bool = True
    """Whether a scaler comes first; drawn as well."""
    gaps: bool = False
    """Whether it takes gaps itself; else they are filled before."""
    texts: bool = False
    """Whether it takes one column of texts."""
    whole: bool = False
    """Whether it takes the whole frame: columns are not turned into numbers before."""


@dataclass(frozen=True)
class Drawn:
    """A pipeline, trained, and rows that it has not seen."""

    estimator: Any
    held_out: Any
    fresh: Any
    """Other rows, on which what was converted is tried again."""


SCALERS: Final = st.sampled_from(
    [StandardScaler(), RobustScaler(), MinMaxScaler(), MaxAbsScaler(), StandardScaler(with_mean=False), "passthrough"]
)


CENTRING: Final = st.sampled_from([StandardScaler(), RobustScaler(), MinMaxScaler()])
"""Without one, estimators that need small numbers would only be tried on nonsense."""

FEW: Final = st.integers(2, 5)
STATE: Final = st.integers(0, 9)


def of(value: Any, *values: Any) -> st.SearchStrategy[Any]:
    """One of these."""
    return st.sampled_from([value, *values])


def scaled(estimators: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Always with a scaler first."""
    return estimators.map(lambda one: make_pipeline(StandardScaler(), one))


def texts(rows: int, random: np.random.Generator) -> pd.DataFrame:
    """Words of several alphabets; some texts have none."""
    return pd.DataFrame({"text": [" ".join(random.choice(WORDS, random.integers(0, 8))) for _ in range(rows)]})


def numbers(kind: Rows, rows: int, random: np.random.Generator) -> Array:
    """(rows, 5): as drawn; or times, ids and what hardly differs; or with gaps."""
    made = random.normal(size=(rows, 5))
    if kind == "hard":
        made[:, 0] = np.round(1.7e9 + made[:, 0] * 1e6)
        made[:, 1] = random.integers(2**24, 2**31, rows)
        made[:, 2] = 1e6 + made[:, 2]
    if kind == "gaps":
        made[random.random(made.shape) < 0.1] = np.nan
    return made


def frame(rows: int, random: np.random.Generator) -> pd.DataFrame:
    """Texts, codes, numbers, a large one and one with gaps."""
    values = numbers("hard", rows, random)
    return pd.DataFrame(
        {
            "city": random.choice(["Bern", "Köln", "Oslo", "São Paulo"], rows),
            "large": values[:, 0],
            "plan": random.choice(["free", "paid", ""], rows),
            "code": random.integers(0, 4, rows),
            "gappy": np.where(random.random(rows) < 0.1, np.nan, values[:, 3]),
            "plain": values[:, 4],
        }
    )


def to_numbers() -> ColumnTransformer:
    """The frame's columns, as most authors turn them into numbers."""
    return ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["plan", "city"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["large", "gappy"]),
        ],
        remainder="passthrough",
    )


def drawn(family: Family, kind: Rows, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Drawn:
    """A pipeline of the family on such rows."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    estimator, total = draw(family.estimators), TRAINED_ON + HELD_OUT + FRESH
    rows: Any
    if family.texts:
        rows = texts(total, random)
        signal = rows["text"].str.count("rain|Köln").to_numpy(np.float64) + random.normal(size=total)
        estimator = make_pipeline(ColumnTransformer([("text", estimator, "text")]), LogisticRegression())
    elif kind == "strings":
        rows = frame(total, random)
        signal = rows["plain"].to_numpy(np.float64) + (rows["city"] == "Köln") + np.nan_to_num(rows["gappy"])
        if not family.whole:
            estimator = make_pipeline(to_numbers(), estimator)
    else:
        rows = numbers(kind, total, random)
        centred = np.nan_to_num((rows - np.nanmean(rows, axis=0)) / np.nanstd(rows, axis=0))
        signal = centred @ [1.0, 1.0, 1.0, 0.5, 0.5]
        steps = [SimpleImputer(strategy=draw(of("mean", "median")))] if kind == "gaps" and not family.gaps else []
        if family.scaled:
            steps.append(draw(CENTRING if kind == "hard" else SCALERS))
        estimator = make_pipeline(*steps, estimator) if steps else estimator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimators that do not converge on so few rows
        estimator.fit(rows[:TRAINED_ON], _target(family.target, signal, draw)[:TRAINED_ON])
    first, second = TRAINED_ON, TRAINED_ON + HELD_OUT
    return Drawn(estimator, rows[first:second], rows[second:])


def _target(target: Target, signal: Array, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Array:
    if target == "numbers":
        return signal
    classes = 2 if target == "pair" else draw(st.integers(2, 3))
    places: Array = np.argsort(np.argsort(signal)) * classes // len(signal)
    if target == "places":
        return places
    labels: Array = np.asarray(draw(of([0, 1, 2], [-1, 1, 7], ["low", "mid", "top"])))
    return np.asarray(labels[places])
