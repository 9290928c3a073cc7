"""What authors give as the truth: taken as what it is, or refused with what is wrong with it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skylane.convert import BadArgument, BadRows, convert_pipeline

pytestmark = pytest.mark.usefixtures("untimed")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param("age", "the target 'age' is a column that the pipeline reads", id="a feature"),
        pytest.param("truth", "there is no column 'truth'", id="no column"),
        pytest.param(pd.Series(["stays", "stays", None] * 100), "gaps in 100 of 300 rows: leave those", id="gaps"),
        pytest.param(np.array(["stays"]), "1 values for 300 rows", id="too few"),
    ],
)
def test_targets_that_cannot_be_the_truth(mixed: Any, target: Any, message: str) -> None:
    with pytest.raises((BadRows, BadArgument), match=message):
        convert_pipeline(mixed.estimator, mixed.rows, target=target)


def test_a_regression_has_no_truth_of_texts(linear: Any) -> None:
    estimator = Ridge().fit(linear.rows, linear.rows[:, 0])
    with pytest.raises(BadRows, match=r"the target is not of numbers: .*'5 mg'; is it the right column"):
        convert_pipeline(estimator, linear.rows, target=np.array(["5 mg"] * len(linear.rows)))


@pytest.mark.parametrize(
    ("labels", "accuracy"),
    [
        pytest.param(["no", "yes"], 0.0, id="texts for numbers, which are noted"),
        pytest.param(pd.array([0, 1], dtype="Int64"), 1.0, id="integers of pandas"),
        pytest.param([False, True], 1.0, id="booleans"),
        pytest.param(np.array([0, 1], dtype=object), 1.0, id="numbers among objects"),
    ],
)
def test_truths_are_compared_as_what_they_are(linear: Any, labels: Any, accuracy: float) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(linear.rows, linear.target)
    answered = estimator.predict(linear.rows)
    report = convert_pipeline(estimator, linear.rows, target=pd.Series(labels).take(answered).to_numpy())
    assert report.conversion.metric == accuracy
    assert any("have none in common" in note for note in report.conversion.notes) == (accuracy == 0.0)
