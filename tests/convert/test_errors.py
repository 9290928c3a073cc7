"""The error for a pipeline that cannot be converted: which step, why, and what to do, each said once."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skylane.convert import Unconvertible, convert_pipeline


class Own(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A transformer of the author's own."""

    def fit(self, rows: Any, target: Any = None) -> "Own":
        self.fitted_ = True
        return self

    def transform(self, rows: Any) -> Any:
        return rows


def union() -> Pipeline:
    parts = FeatureUnion([("scaled", StandardScaler()), ("odd", Own())])
    return Pipeline([("features", parts), ("model", LogisticRegression())])


@pytest.mark.parametrize(
    ("pipeline", "step", "why"),
    [
        pytest.param(make_pipeline(Own(), LogisticRegression()), "own", "skl2onnx knows no class Own", id="a step"),
        pytest.param(union(), "features/odd", "skl2onnx knows no class Own", id="a step inside of another"),
        pytest.param(
            make_pipeline(FunctionTransformer(np.sort), LogisticRegression()),
            "functiontransformer",
            "do it before the pipeline",
            id="a function that has no graph",
        ),
    ],
)
def test_the_step_is_named_once_with_what_to_do(pipeline: Any, step: str, why: str, linear: Any) -> None:
    with pytest.raises(Unconvertible) as refused:
        convert_pipeline(pipeline.fit(linear.rows, linear.target), linear.rows)
    said = str(refused.value)
    assert f"the step {step}" in said
    assert said.count(why) == 1
    assert "\n" not in said
    assert len(said) < 450


def test_a_model_that_nobody_knows_is_named_without_more(linear: Any) -> None:
    with pytest.raises(Unconvertible, match=r"^skl2onnx knows no class BernoulliRBM\. What helps: replace the step"):
        convert_pipeline(BernoulliRBM(2, n_iter=1).fit(linear.rows), linear.rows)


@pytest.mark.parametrize(
    ("package", "advice"),
    [
        pytest.param("catboost.core", "skylane import model.onnx", id="CatBoost exports models itself"),
        pytest.param("category_encoders.woe", "TargetEncoder of scikit-learn", id="category_encoders"),
        pytest.param("feature_engine.encoding.one_hot", "OneHotEncoder", id="feature_engine"),
    ],
)
@pytest.mark.parametrize("alone", [pytest.param(True, id="alone"), pytest.param(False, id="as a step")])
def test_estimators_of_libraries_without_graphs_are_told_what_replaces_them(
    package: str, advice: str, alone: bool, linear: Any
) -> None:
    family = type("Foreign", (Own,), {"__module__": package})
    estimator = family() if alone else make_pipeline(family(), LogisticRegression())
    with pytest.raises(Unconvertible, match="skl2onnx knows no class Foreign") as refused:
        convert_pipeline(estimator.fit(linear.rows, linear.target), linear.rows)
    assert advice in str(refused.value)
