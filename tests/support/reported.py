"""Small rows of the kinds on which other converters were reported to go wrong, and pipelines trained on them."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from skylane.convert.publishing.conversion import Conversion
from support.examined import examined

TRAINED_ON, HELD_OUT, FRESH = 160, 60, 40
ROWS: Final = TRAINED_ON + HELD_OUT + FRESH

_random = np.random.default_rng(7)


@dataclass(frozen=True)
class Sample:
    """Rows, an array or a data frame, and the truth about them."""

    rows: Any
    target: Any


def verdict(estimator: Any, sample: Sample) -> Conversion:
    """Train on some of the rows, convert with others, compare on the rest. Raises ConversionError or AssertionError."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimators that do not converge on so few rows
        target = None if sample.target is None else sample.target[:TRAINED_ON]
        estimator.fit(sample.rows[:TRAINED_ON], target)
        held_out = sample.rows[TRAINED_ON : TRAINED_ON + HELD_OUT]
        return examined(estimator, held_out, sample.rows[TRAINED_ON + HELD_OUT :])[0]


_plain = _random.normal(size=(ROWS, 5))
_signal = _plain @ [1.0, 0.7, -0.5, 0.3, 0.1] + 0.3 * _random.normal(size=ROWS)
_places = np.argsort(np.argsort(_signal)) * 3 // ROWS
_holes = np.where(_random.random(_plain.shape) < 0.15, np.nan, _plain)
_magnitudes = np.round(_plain * 10.0 ** np.arange(5))
_categories = np.column_stack([_random.integers(0, 12, ROWS), _random.integers(0, 5, ROWS), _plain[:, :2]])

TWO: Final = Sample(_plain, (_signal > 0).astype(np.int64))
THREE: Final = Sample(_plain, _places)
NAMED: Final = Sample(_plain, np.array(["low", "mid", "top"])[_places])
VALUES: Final = Sample(_plain, _signal)
POSITIVE: Final = Sample(_plain, np.exp(_signal))
PAIR: Final = Sample(_plain, np.column_stack([_signal, -2.0 * _plain[:, 0]]))
"""Two numbers are asked for at once."""
LABELS: Final = Sample(_plain, np.column_stack([_signal > 0, _plain[:, 0] > 0]).astype(np.int64))
"""Two labels are asked for at once."""
NOBODY: Final = Sample(_plain, None)
GAPS: Final = Sample(_holes, TWO.target)
GAPS_VALUES: Final = Sample(_holes, _signal)
MAGNITUDES: Final = Sample(_magnitudes, _signal)
"""Whole numbers, each column ten times as large as the one before."""
MAGNITUDES_TWO: Final = Sample(_magnitudes, TWO.target)
CODES: Final = Sample(_categories, _categories[:, 0] % 3 + _categories[:, 1] + 0.1 * _signal)
"""Two columns of codes, whose order means nothing, and two of numbers."""
CODED: Final = Sample(_categories, (CODES.target > np.median(CODES.target)).astype(np.int64))


def _passengers() -> pd.DataFrame:
    """Texts with gaps, numbers with gaps, whole numbers, booleans, categories."""
    made = pd.DataFrame(
        {
            "age": np.where(_random.random(ROWS) < 0.2, np.nan, _random.integers(1, 80, ROWS)),
            "fare": np.round(_random.lognormal(3.0, 1.0, ROWS), 2),
            "embarked": _random.choice(["C", "Q", "S"], ROWS, p=[0.2, 0.05, 0.75]),
            "sex": _random.choice(["female", "male"], ROWS),
            "pclass": _random.integers(1, 4, ROWS),
            "alone": _random.random(ROWS) < 0.5,
            "deck": pd.Categorical(_random.choice(["A", "B", "F G"], ROWS)),
        }
    )
    made["embarked"] = made["embarked"].astype(object)
    made.loc[_random.random(ROWS) < 0.1, "embarked"] = None
    return made


_frame = _passengers()
_alive = (_frame["sex"] == "female").to_numpy(np.float64) + _frame["fare"].to_numpy() / 40 + 0.5 * _signal
SURVIVED: Final = Sample(_frame, (_alive > np.median(_alive)).astype(np.int64))
PAID: Final = Sample(_frame, _alive)

WORDS: Final = ("first", "document", "second", "This", "is", "the", "third", "one", "naïve", "Köln", "c79857654", "a")


def _documents() -> pd.DataFrame:
    """Some without a word, some of signs only."""
    marks = ["", ".", "?", " $^*&'(-..."]
    texts = [" ".join(_random.choice(WORDS, _random.integers(0, 9))) + str(_random.choice(marks)) for _ in range(ROWS)]
    return pd.DataFrame({"text": texts})


_texts = _documents()
TEXTS: Final = Sample(_texts, _texts["text"].str.contains("first|Köln").to_numpy(np.bool_).astype(np.int64))
