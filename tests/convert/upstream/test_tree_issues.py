"""Trees that other converters were reported to get wrong: the pipelines of those reports, in few rows.

Each is converted, judged by the gate with its probes, and asked about rows that nobody has seen.
"""

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from skylane.convert.errors import Unconvertible
from support.reported import (
    CODED,
    CODES,
    GAPS,
    GAPS_VALUES,
    LABELS,
    MAGNITUDES,
    MAGNITUDES_TWO,
    NAMED,
    NOBODY,
    PAID,
    SURVIVED,
    THREE,
    TWO,
    VALUES,
    Sample,
    verdict,
)

pytestmark = pytest.mark.usefixtures("untimed")

LGBM: dict[str, Any] = {"n_estimators": 8, "min_child_samples": 4, "n_jobs": 1, "verbose": -1, "random_state": 0}
XGB: dict[str, Any] = {"n_estimators": 8, "n_jobs": 1, "random_state": 0}


def native_categories(model: Any) -> Any:
    """Texts as codes that the boosting itself takes for categories, gaps and numbers as they are."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = [("codes", codes, ["embarked", "sex"]), ("numbers", "passthrough", ["age", "fare", "alone"])]
    return make_pipeline(ColumnTransformer(columns), model)


def behind_sparse(model: Any) -> Any:
    """One-hot columns and numbers, some of them zero, kept sparse."""
    columns = [("texts", OneHotEncoder(handle_unknown="ignore"), ["deck", "sex"]), ("age", "passthrough", ["age"])]
    return make_pipeline(ColumnTransformer(columns, sparse_threshold=1.0), MaxAbsScaler(), model)


SPARSE = Sample(SURVIVED.rows.assign(age=np.maximum(SURVIVED.rows["age"].fillna(0) - 40, 0)), SURVIVED.target)


@pytest.mark.parametrize(
    ("source", "estimator", "sample"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1253", RandomForestClassifier(12, max_depth=5, random_state=0), GAPS,
            id="a forest sends gaps where it learnt to send them",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1253", DecisionTreeClassifier(max_depth=6, random_state=0), GAPS,
            id="a tree sends gaps where it learnt to send them",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1253", ExtraTreesRegressor(12, random_state=0), GAPS_VALUES,
            id="extra trees send gaps where they learnt to send them",
        ),
        pytest.param(
            "scikit-learn/scikit-learn#28772", RandomForestClassifier(12, random_state=0), TWO,
            id="gaps that only callers have go to the larger child",
        ),
        pytest.param(
            "microsoft/onnxruntime#28557", RandomForestClassifier(20, max_depth=8, random_state=0), TWO,
            id="labels of a forest of two classes",
        ),
        pytest.param(
            "microsoft/onnxruntime#4130", make_pipeline(StandardScaler(), RandomForestRegressor(12, random_state=0)),
            MAGNITUDES, id="a scaler in front of a forest, on whole numbers of all magnitudes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#479", make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=10)),
            MAGNITUDES, id="a scaler in front of a tree, on whole numbers of all magnitudes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#166", RandomForestRegressor(100, random_state=0), VALUES,
            id="the mean of a hundred trees",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1183", RandomForestClassifier(12, random_state=0), MAGNITUDES_TWO,
            id="a forest asked in doubles",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1051",
            native_categories(HistGradientBoostingClassifier(max_iter=6, categorical_features=[0, 1])), SURVIVED,
            id="histogram boosting over a frame, with categories of its own",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1101", HistGradientBoostingRegressor(max_iter=8, categorical_features=[0, 1]), CODES,
            id="a regression by histogram boosting, with categories of its own",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1051", HistGradientBoostingClassifier(max_iter=8, categorical_features=[0, 1]), CODED,
            id="a classification by histogram boosting, with categories of its own",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1192",
            make_pipeline(
                ColumnTransformer(
                    [("means", TargetEncoder(random_state=0), ["sex", "pclass"]), ("numbers", "passthrough", ["fare"])]
                ),
                HistGradientBoostingRegressor(max_iter=8),
            ),
            PAID, id="histogram boosting behind a target encoder",
        ),
        pytest.param(
            "onnx/sklearn-onnx#524", HistGradientBoostingClassifier(max_iter=6), GAPS,
            id="histogram boosting of rows with gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#524", HistGradientBoostingClassifier(max_iter=5), THREE,
            id="histogram boosting of three classes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1117", AdaBoostClassifier(n_estimators=12, random_state=0), TWO,
            id="AdaBoost of two classes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#324", AdaBoostClassifier(n_estimators=12, random_state=0), NAMED,
            id="AdaBoost of three classes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#223", AdaBoostClassifier(n_estimators=12, learning_rate=0.3, random_state=0), THREE,
            id="AdaBoost that learns slowly",
        ),
        pytest.param(
            "onnx/sklearn-onnx#365", BaggingClassifier(SGDClassifier(random_state=0), 4, random_state=0), THREE,
            id="bagging of models that know no probabilities",
        ),
        pytest.param(
            "onnx/sklearn-onnx#201", GradientBoostingClassifier(n_estimators=8, learning_rate=0.9), TWO,
            id="gradient boosting that learns fast",
        ),
        pytest.param(
            "onnx/sklearn-onnx#120", GradientBoostingClassifier(n_estimators=5), NAMED,
            id="gradient boosting of classes with names",
        ),
        pytest.param(
            "onnx/sklearn-onnx#164", GradientBoostingRegressor(n_estimators=8, init="zero"), VALUES,
            id="gradient boosting that begins at nought",
        ),
        pytest.param(
            "onnx/sklearn-onnx#219", GradientBoostingClassifier(n_estimators=8, init="zero"), THREE,
            id="gradient boosting of three classes that begins at nought",
        ),
        pytest.param(
            "microsoft/onnxruntime#1007", GradientBoostingClassifier(n_estimators=3, max_depth=2), TWO,
            id="gradient boosting whose classes begin with different odds",
        ),
        pytest.param(
            "microsoft/onnxruntime#27533", LGBMClassifier(**{**LGBM, "min_child_samples": 500}), TWO,
            id="LightGBM whose trees are a single leaf",
        ),
        pytest.param(
            "microsoft/onnxruntime#27533", XGBClassifier(**XGB, min_child_weight=1e6), TWO,
            id="XGBoost whose trees are a single leaf",
        ),
        pytest.param(
            "microsoft/onnxruntime#27533", GradientBoostingClassifier(n_estimators=3, min_samples_split=1.0), TWO,
            id="gradient boosting whose trees are nearly a single leaf",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1151",
            CalibratedClassifierCV(RandomForestClassifier(10, max_depth=10, random_state=0), method="isotonic", cv=2),
            TWO, id="a deep forest, calibrated by steps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#548", IsolationForest(n_estimators=10, max_samples=100, random_state=0), NOBODY,
            id="an isolation forest says 1 and -1",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1056",
            IsolationForest(n_estimators=5, max_samples=0.5, bootstrap=True, random_state=0), NOBODY,
            id="an isolation forest of parts of the rows",
        ),
        pytest.param(
            "onnx/sklearn-onnx#733",
            IsolationForest(n_estimators=10, contamination=0.1, max_features=3, random_state=0), NOBODY,
            id="scores of an isolation forest that reads some of the columns",
        ),
        pytest.param(
            "onnx/onnxmltools#728", LGBMClassifier(**LGBM), CODED, id="LightGBM on whole numbers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1138", make_pipeline(StandardScaler(), LGBMClassifier(**LGBM)), MAGNITUDES_TWO,
            id="LightGBM behind a scaler",
        ),
        pytest.param(
            "onnx/onnxmltools#708", LGBMRegressor(**{**LGBM, "n_estimators": 60}), GAPS_VALUES,
            id="a regression by LightGBM, with gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#393",
            make_pipeline(
                ColumnTransformer([("codes", OrdinalEncoder(), ["sex", "deck"])], remainder="drop"),
                LGBMClassifier(**LGBM),
            ),
            SURVIVED, id="LightGBM behind an ordinal encoder",
        ),
        pytest.param(
            "onnx/sklearn-onnx#936",
            VotingClassifier([("a", LGBMClassifier(**LGBM)), ("b", XGBClassifier(**XGB))], voting="soft"), TWO,
            id="a vote of LightGBM and XGBoost",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1071",
            VotingClassifier([("a", XGBClassifier(**XGB)), ("b", GaussianNB())], voting="soft"), THREE,
            id="a vote of XGBoost and naive Bayes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#800",
            StackingRegressor(
                [("a", LinearRegression()), ("b", XGBRegressor(**XGB))], final_estimator=XGBRegressor(**XGB), cv=2
            ),
            VALUES, id="XGBoost stacked on XGBoost",
        ),
        pytest.param(
            "onnx/sklearn-onnx#399", behind_sparse(XGBClassifier(**XGB)), SPARSE,
            id="XGBoost behind one-hot columns, whose noughts it takes for gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#817",
            behind_sparse(StackingClassifier([("a", XGBClassifier(**XGB))], XGBClassifier(**XGB), cv=2)), SPARSE,
            id="XGBoost stacked on what takes noughts for gaps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#817",
            behind_sparse(
                StackingClassifier([("a", XGBClassifier(**XGB))], XGBClassifier(**XGB), cv=2, passthrough=True)
            ),
            SPARSE, id="XGBoost stacked, and takes noughts for gaps itself",
        ),
        pytest.param(
            "onnx/sklearn-onnx#448", OneVsRestClassifier(GradientBoostingClassifier(n_estimators=5)), TWO,
            id="gradient boosting, one of two classes against the rest",
        ),
    ],
)  # fmt: skip
def test_answers_as_scikit_learn_does(source: str, estimator: Any, sample: Sample) -> None:
    verdict(estimator, sample)


@pytest.mark.parametrize(
    ("source", "estimator", "sample", "message"),
    [
        pytest.param(
            "onnx/sklearn-onnx#889", RandomForestClassifier(5), LABELS, "train and publish one classifier for each",
            id="a forest that answers two questions",
        ),
        pytest.param(
            "onnx/sklearn-onnx#212", make_pipeline(StandardScaler(), DecisionTreeClassifier()), LABELS,
            "train and publish one classifier for each", id="a tree that answers two questions",
        ),
        pytest.param(
            "onnx/sklearn-onnx#219", GradientBoostingRegressor(n_estimators=8, init=LinearRegression()), VALUES,
            "begins with the answers of LinearRegression.*leave out init", id="boosting that begins with another model",
        ),
        pytest.param(
            "onnx/onnxmltools#150", LGBMClassifier(**LGBM, objective="ova"), THREE,
            "the objective 'multiclassova'.*use one of", id="LightGBM, one class against the rest",
        ),
    ],
)  # fmt: skip
def test_refused_with_what_to_do(source: str, estimator: Any, sample: Sample, message: str) -> None:
    with pytest.raises(Unconvertible, match=message):
        verdict(estimator, sample)
