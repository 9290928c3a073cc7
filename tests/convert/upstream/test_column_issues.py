"""Columns of texts, gaps, codes and booleans that other converters were reported to get wrong, in few rows.

Each pipeline is converted, judged by the gate with its probes, and asked about rows that nobody has seen.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from skylane.convert.errors import BadRows, Unconvertible
from support.reported import (
    CODES,
    GAPS_VALUES,
    POSITIVE,
    SURVIVED,
    TWO,
    VALUES,
    Sample,
    verdict,
)

pytestmark = pytest.mark.usefixtures("untimed")

FRAME = SURVIVED.rows
FILLED = Sample(FRAME.assign(embarked=FRAME["embarked"].fillna("")), SURVIVED.target)
"""Gaps that are written as a text."""
SHORT = Sample(FRAME.astype({"pclass": np.int32}), SURVIVED.target)
WEEKDAYS = Sample(
    pd.DataFrame({"month": np.arange(len(FRAME)) % 12 + 1, "fare": FRAME["fare"], "holiday": FRAME["alone"]}),
    SURVIVED.target,
)
"""Categories that are integers and booleans."""


def of(columns: list[str], step: Any, model: Any = None) -> Any:
    """A step over some columns of the passengers, and the fare as it is."""
    transformer = ColumnTransformer([("step", step, columns), ("fare", "passthrough", ["fare"])])
    return make_pipeline(transformer, LogisticRegression() if model is None else model)


def overprice(rows: Any, column: int = 0) -> Any:
    """A function of an author's own."""
    return rows / rows[:, [column]]


class Decorrelated(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A transformer of an author's own."""

    def fit(self, rows: Any, target: Any = None) -> "Decorrelated":
        self.mean_ = rows.mean(axis=0)
        return self

    def transform(self, rows: Any) -> Any:
        return rows - self.mean_


@pytest.mark.parametrize(
    ("source", "estimator", "sample"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1026",
            of(["embarked", "deck"], OneHotEncoder(min_frequency=20, handle_unknown="ignore")), SURVIVED,
            id="rare categories share a column, those never seen have none",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1026",
            of(["embarked", "deck"], OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist")), SURVIVED,
            id="categories never seen share the column of rare ones",
        ),
        pytest.param(
            "onnx/sklearn-onnx#402", of(["sex", "deck"], OneHotEncoder(drop="first")), SURVIVED,
            id="the first category has no column",
        ),
        pytest.param(
            "onnx/sklearn-onnx#402", of(["sex", "deck"], OneHotEncoder(drop="if_binary", handle_unknown="ignore")),
            SURVIVED, id="one of two categories has no column",
        ),
        pytest.param(
            "onnx/sklearn-onnx#320", of(["pclass"], OneHotEncoder(handle_unknown="ignore")), SHORT,
            id="categories that are short integers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1047", of(["holiday", "month"], OrdinalEncoder()), WEEKDAYS,
            id="categories that are booleans and integers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#399", of(["alone"], "passthrough", RandomForestClassifier(5, random_state=0)), SURVIVED,
            id="booleans among numbers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1122",
            of(["embarked"], make_pipeline(
                SimpleImputer(strategy="constant", missing_values="", fill_value="missing"),
                OneHotEncoder(handle_unknown="ignore"),
            )),
            FILLED, id="empty texts become a text",
        ),
        pytest.param(
            "onnx/sklearn-onnx#681",
            of(["embarked"], make_pipeline(
                SimpleImputer(strategy="constant", missing_values=None, fill_value="missing"),
                OneHotEncoder(handle_unknown="ignore"),
            )),
            SURVIVED, id="gaps in texts, written None, become a text",
        ),
        pytest.param(
            "onnx/sklearn-onnx#830",
            of(["embarked", "sex"], make_pipeline(
                SimpleImputer(strategy="most_frequent", missing_values=None), OneHotEncoder(handle_unknown="ignore")
            )),
            SURVIVED, id="gaps in texts become the most frequent one",
        ),
        pytest.param(
            "onnx/sklearn-onnx#26",
            of(["embarked", "sex"], make_pipeline(
                SimpleImputer(strategy="constant", missing_values=None, fill_value="nan"),
                OneHotEncoder(handle_unknown="ignore"), TruncatedSVD(2, random_state=0),
            )),
            SURVIVED, id="texts filled, coded and projected",
        ),
        pytest.param(
            "onnx/sklearn-onnx#926", of(["pclass", "age"], SimpleImputer(strategy="mean")), SURVIVED,
            id="the mean of whole numbers is none",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1132", of(
                ["embarked"],
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=42),
            ),
            SURVIVED, id="gaps have a code of their own, and what was never seen",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1197", of(
                ["embarked", "sex"],
                make_pipeline(
                    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), SimpleImputer()
                ),
            ),
            SURVIVED, id="what was never seen is a gap",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1215", of(
                ["embarked", "deck"],
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=20),
            ),
            SURVIVED, id="rare categories share a code",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1215", make_pipeline(
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=20), Ridge()
            ),
            Sample(CODES.rows[:, :2], CODES.target), id="rare numbers share a code",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1136", of(["embarked", "sex"], TargetEncoder(random_state=0)), SURVIVED,
            id="means of the target, with gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1194", of(["deck", "alone"], TargetEncoder(random_state=0)), SURVIVED,
            id="means of the target for texts and booleans",
        ),
        pytest.param(
            "onnx/sklearn-onnx#437",
            make_pipeline(KBinsDiscretizer(4, encode="onehot", quantile_method="averaged_inverted_cdf"), Ridge()),
            VALUES, id="bins in columns, most of them noughts",
        ),
        pytest.param(
            "onnx/sklearn-onnx#608", make_pipeline(QuantileTransformer(n_quantiles=20), Ridge()),
            Sample(VALUES.rows[:, :2], VALUES.target), id="quantiles",
        ),
        pytest.param("onnx/sklearn-onnx#376", make_pipeline(PowerTransformer(), Ridge()), VALUES, id="powers"),
        pytest.param(
            "onnx/sklearn-onnx#194",
            ColumnTransformer(
                [("pca", PCA(2), slice(0, 2)), ("svd", TruncatedSVD(2, random_state=0), slice(2, 5))],
                transformer_weights={"pca": 10, "svd": 3},
            ),
            Sample(VALUES.rows, None), id="branches with weights",
        ),
        pytest.param(
            "onnx/sklearn-onnx#152", ColumnTransformer([("pca", PCA(1), [3, 1])], remainder="passthrough"),
            Sample(VALUES.rows, None), id="the columns that are left stand behind",
        ),
        pytest.param(
            "onnx/sklearn-onnx#193",
            FeatureUnion([("pca", PCA(2)), ("svd", TruncatedSVD(3))], transformer_weights={"pca": 100, "svd": 3}),
            Sample(VALUES.rows, None), id="a union with weights",
        ),
        pytest.param(
            "onnx/sklearn-onnx#278", make_pipeline(FunctionTransformer(np.log), StandardScaler(), Ridge()),
            Sample(np.exp(VALUES.rows), VALUES.target), id="logarithms, then a scaler",
        ),
        pytest.param(
            "onnx/sklearn-onnx#32",
            make_pipeline(
                ColumnTransformer([("a", StandardScaler(), ["fare", "age"]), ("b", "passthrough", ["age", "pclass"])]),
                RandomForestClassifier(5, random_state=0),
            ),
            SURVIVED, id="a column that two branches take, in another order",
        ),
        pytest.param(
            "onnx/sklearn-onnx#191", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), Ridge()),
            GAPS_VALUES, id="medians, and where there were gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1018", StandardScaler(), Sample(VALUES.rows, None), id="a scaler alone"
        ),
    ],
)  # fmt: skip
def test_answers_as_scikit_learn_does(source: str, estimator: Any, sample: Sample) -> None:
    verdict(estimator, sample)


@pytest.mark.parametrize(
    ("source", "estimator", "sample", "message"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1040",
            make_pipeline(FunctionTransformer(overprice, kw_args={"column": 0}), LogisticRegression()), TWO,
            "the step functiontransformer gives its function arguments", id="a function with arguments",
        ),
        pytest.param(
            "onnx/sklearn-onnx#609", make_pipeline(FunctionTransformer(overprice), LogisticRegression()),
            TWO, "the step functiontransformer .*do it before the pipeline", id="a function of one's own",
        ),
        pytest.param(
            "onnx/sklearn-onnx#976",
            make_pipeline(QuantileTransformer(n_quantiles=50, output_distribution="normal"), Ridge()), VALUES,
            "the step quantiletransformer .*use 'uniform'", id="quantiles of the normal distribution",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1152", make_pipeline(SplineTransformer(), Ridge()), VALUES,
            "the step splinetransformer .*use PolynomialFeatures", id="splines",
        ),
        pytest.param(
            "onnx/sklearn-onnx#945",
            make_pipeline(ColumnTransformer([("hash", FeatureHasher(8, input_type="string"), "sex")]), Ridge()),
            Sample(FRAME.assign(sex=FRAME["sex"].map(lambda text: [text])), POSITIVE.target),
            "'sex' holds .* turn it into one of them before the pipeline", id="lists of texts in a column, hashed",
        ),
        pytest.param(
            "onnx/sklearn-onnx#278", make_pipeline(Decorrelated(), LogisticRegression()), TWO,
            "the step decorrelated.*What helps", id="a transformer of one's own",
        ),
    ],
)  # fmt: skip
def test_refused_with_what_to_do(source: str, estimator: Any, sample: Sample, message: str) -> None:
    with pytest.raises((Unconvertible, BadRows), match=message):
        verdict(estimator, sample)
