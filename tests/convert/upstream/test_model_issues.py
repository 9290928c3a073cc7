"""Models, no trees, that other converters were reported to get wrong: the pipelines of those reports, in few rows.

Each is converted, judged by the gate with its probes, and asked about rows that nobody has seen.
"""

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, WhiteKernel
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifierCV,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from skylane.convert.errors import Unconvertible
from support.reported import (
    GAPS_VALUES,
    LABELS,
    MAGNITUDES,
    NAMED,
    NOBODY,
    PAID,
    PAIR,
    POSITIVE,
    SURVIVED,
    THREE,
    TWO,
    VALUES,
    Sample,
    verdict,
)

pytestmark = pytest.mark.usefixtures("untimed")

UNDECIDED = Sample(np.where(np.arange(len(TWO.rows))[:, None] % 3 == 0, 0.0, TWO.rows), TWO.target)
"""A third of the rows are noughts: without an intercept, their scores are a draw."""


def over_columns(model: Any) -> Any:
    """A model after one-hot texts and imputed, scaled numbers."""
    texts, numbers = OneHotEncoder(handle_unknown="ignore"), make_pipeline(SimpleImputer(), StandardScaler())
    columns = [("texts", texts, ["embarked", "sex"]), ("numbers", numbers, ["age", "fare"])]
    return make_pipeline(ColumnTransformer(columns), model)


def of_columns(places: list[int], model: Any) -> Any:
    """That reads some of the columns only."""
    return make_pipeline(ColumnTransformer([("some", "passthrough", places)]), model)


@pytest.mark.parametrize(
    ("source", "estimator", "sample"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1129", LogisticRegression(), Sample(PAID.rows[["fare", "pclass"]], SURVIVED.target),
            id="logistic regression over a frame of floats and integers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#147", LogisticRegression(solver="sag"), NAMED, id="three classes that have names"
        ),
        pytest.param(
            "onnx/sklearn-onnx#671", over_columns(LogisticRegression()), SURVIVED,
            id="one-hot columns in front of logistic regression",
        ),
        pytest.param(
            "onnx/sklearn-onnx#602", LogisticRegression(fit_intercept=False), UNDECIDED,
            id="labels of rows whose score is nought",
        ),
        pytest.param(
            "onnx/onnxmltools#415", LinearSVC(fit_intercept=False), UNDECIDED,
            id="labels of a linear SVM for rows whose score is nought",
        ),
        pytest.param(
            "onnx/sklearn-onnx#558", LinearRegression(), MAGNITUDES, id="a linear regression asked in doubles"
        ),
        pytest.param(
            "onnx/sklearn-onnx#908", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
            THREE, id="probabilities by the logistic loss",
        ),
        pytest.param(
            "onnx/sklearn-onnx#363", SGDClassifier(loss="hinge", random_state=0), THREE, id="labels by the hinge loss"
        ),
        pytest.param(
            "microsoft/hummingbird#415", SGDClassifier(loss="modified_huber", random_state=0), THREE,
            id="classes that are all impossible are equally likely",
        ),
        pytest.param(
            "onnx/sklearn-onnx#347", RidgeClassifierCV(), NAMED, id="a ridge that chose its penalty"
        ),
        pytest.param(
            "onnx/sklearn-onnx#990", SVC(), TWO, id="an SVM of two classes without probabilities"
        ),
        pytest.param(
            "onnx/sklearn-onnx#302", SVC(decision_function_shape="ovr", break_ties=True), NAMED,
            id="an SVM whose draws are broken by scores",
        ),
        pytest.param(
            "onnx/sklearn-onnx#133", SVC(decision_function_shape="ovo"), THREE, id="an SVM with a score for each pair"
        ),
        pytest.param(
            "scikit-learn/scikit-learn#14100", SVC(probability=True, class_weight="balanced", random_state=0),
            Sample(THREE.rows[:, :2], THREE.target), id="an SVM whose label is not its likeliest class",
        ),
        pytest.param(
            "scikit-learn/scikit-learn#5215", NuSVC(probability=True, random_state=0), TWO,
            id="another SVM whose label is not its likeliest class",
        ),
        pytest.param(
            "onnx/sklearn-onnx#662", GridSearchCV(SVC(), {"C": [0.5, 2.0]}, cv=2), THREE, id="a searched SVM"
        ),
        pytest.param(
            "onnx/sklearn-onnx#339", OneVsRestClassifier(LogisticRegression()), TWO,
            id="one of two classes against the rest",
        ),
        pytest.param(
            "onnx/sklearn-onnx#937", GaussianProcessRegressor(RBF() + WhiteKernel(0.5), alpha=0.1), VALUES,
            id="a Gaussian process with noise",
        ),
        pytest.param(
            "onnx/sklearn-onnx#901",
            GaussianProcessRegressor(RBF([1.0, 2.0, 3.0, 1.0, 0.5]), optimizer=None, alpha=0.5), VALUES,
            id="a Gaussian process with a length for each column",
        ),
        pytest.param(
            "onnx/sklearn-onnx#220", GaussianProcessRegressor(DotProduct() + RBF(), alpha=1.0), VALUES,
            id="a Gaussian process of two kernels",
        ),
        pytest.param("onnx/sklearn-onnx#523", BayesianRidge(), VALUES, id="Bayesian ridge"),
        pytest.param(
            "onnx/sklearn-onnx#750", make_pipeline(StandardScaler(), TweedieRegressor(power=1.5)), POSITIVE,
            id="a Tweedie regression",
        ),
        pytest.param("onnx/sklearn-onnx#750", PoissonRegressor(), POSITIVE, id="a Poisson regression"),
        pytest.param("onnx/sklearn-onnx#750", GammaRegressor(), POSITIVE, id="a gamma regression"),
        pytest.param("onnx/sklearn-onnx#750", QuantileRegressor(alpha=0.01), VALUES, id="a quantile regression"),
        pytest.param("onnx/sklearn-onnx#294", RANSACRegressor(random_state=0), VALUES, id="a robust regression"),
        pytest.param(
            "onnx/sklearn-onnx#390", TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), POSITIVE,
            id="the logarithm of a target",
        ),
        pytest.param(
            "onnx/sklearn-onnx#867",
            VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft", flatten_transform=True),
            THREE, id="a vote that would flatten what it transforms",
        ),
        pytest.param(
            "onnx/sklearn-onnx#961",
            VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression()), ("c", DecisionTreeClassifier())]),
            NAMED, id="a vote by labels",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1016",
            VotingClassifier(
                [
                    ("a", over_columns(LogisticRegression())),
                    ("b", over_columns(RandomForestClassifier(5, random_state=0))),
                ],
                voting="soft",
            ),
            SURVIVED, id="a vote of pipelines, each over texts and numbers",
        ),
        pytest.param(
            "onnx/sklearn-onnx#930",
            StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], passthrough=True, cv=2), THREE,
            id="a stack whose last model sees the rows as well",
        ),
        pytest.param(
            "onnx/sklearn-onnx#930",
            StackingRegressor([("a", Ridge()), ("b", LinearRegression())], passthrough=True, cv=2), VALUES,
            id="a stack of regressions whose last one sees the rows as well",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1199",
            StackingClassifier(
                [
                    ("tree", of_columns([0, 1, 2], RandomForestClassifier(5, random_state=0))),
                    ("line", of_columns([4, 2], LogisticRegression())),
                ],
                cv=2,
            ),
            TWO, id="a stack of pipelines that read some of the columns",
        ),
        pytest.param(
            "onnx/sklearn-onnx#817",
            over_columns(StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], cv=2)),
            SURVIVED, id="a stack behind a column transformer",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1100", TunedThresholdClassifierCV(LogisticRegression(), cv=3), TWO,
            id="a threshold that was tuned",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1225", FixedThresholdClassifier(LogisticRegression(), threshold=0.3), TWO,
            id="a threshold that was given",
        ),
        pytest.param(
            "onnx/sklearn-onnx#200",
            CalibratedClassifierCV(MLPClassifier((8,), max_iter=200, random_state=0), method="isotonic", cv=2), THREE,
            id="a network, calibrated by steps",
        ),
        pytest.param(
            "onnx/sklearn-onnx#301", over_columns(CalibratedClassifierCV(LogisticRegression(), cv=2)), SURVIVED,
            id="a calibrated model behind columns",
        ),
        pytest.param(
            "onnx/sklearn-onnx#742", CalibratedClassifierCV(LinearSVC(), cv=2), THREE, id="a calibrated linear SVM"
        ),
        pytest.param(
            "onnx/sklearn-onnx#836", LocalOutlierFactor(n_neighbors=8, novelty=True), NOBODY, id="local outliers"
        ),
        pytest.param(
            "onnx/sklearn-onnx#458", make_pipeline(StandardScaler(), KMeans(4, n_init=1, random_state=0)), NOBODY,
            id="clusters of scaled rows",
        ),
        pytest.param(
            "onnx/sklearn-onnx#112", KNeighborsClassifier(5, weights="distance"), THREE,
            id="neighbours by their distance",
        ),
        pytest.param("onnx/sklearn-onnx#514", MultiOutputRegressor(Ridge()), PAIR, id="a model for each number"),
        pytest.param("onnx/sklearn-onnx#714", RegressorChain(Ridge()), PAIR, id="a chain of regressions"),
        pytest.param(
            "onnx/sklearn-onnx#1165", make_pipeline(KNNImputer(n_neighbors=3), Ridge()), GAPS_VALUES,
            id="gaps filled from neighbours",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1081", make_pipeline(KNNImputer(weights="distance", add_indicator=True), Ridge()),
            GAPS_VALUES, id="gaps filled from neighbours by their distance",
        ),
    ],
)  # fmt: skip
def test_answers_as_scikit_learn_does(source: str, estimator: Any, sample: Sample) -> None:
    verdict(estimator, sample)


@pytest.mark.parametrize(
    ("source", "estimator", "sample", "message"),
    [
        pytest.param(
            "onnx/sklearn-onnx#436", GaussianProcessClassifier(), TWO, "use LogisticRegression",
            id="a Gaussian process of classes",
        ),
        pytest.param(
            "onnx/sklearn-onnx#113", OneVsRestClassifier(LogisticRegression()), LABELS,
            "one (model|classifier) for each", id="several labels at once",
        ),
        pytest.param(
            "onnx/sklearn-onnx#353", MLPClassifier((4,), max_iter=50), LABELS, "one classifier for each",
            id="several labels of a network",
        ),
        pytest.param(
            "onnx/sklearn-onnx#714", MultiOutputClassifier(LogisticRegression()), LABELS, "one classifier for each",
            id="a model for each label",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1105", make_pipeline(IterativeImputer(), Ridge()), GAPS_VALUES,
            "the step iterativeimputer.*What helps", id="gaps filled by models",
        ),
    ],
)  # fmt: skip
def test_refused_with_what_to_do(source: str, estimator: Any, sample: Sample, message: str) -> None:
    with pytest.raises(Unconvertible, match=message):
        verdict(estimator, sample)


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_frozen_model_is_calibrated(pipeline: bool) -> None:
    """onnx/sklearn-onnx#1082: what was fitted before, on its own or behind columns, and frozen."""
    model = over_columns(LogisticRegression()) if pipeline else LogisticRegression()
    sample = SURVIVED if pipeline else TWO
    model.fit(sample.rows[:100], sample.target[:100])
    verdict(CalibratedClassifierCV(FrozenEstimator(model)), sample)
