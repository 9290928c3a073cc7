"""Steps one by one: what each makes of single precision, of doubles, and what it refuses."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, FactorAnalysis, FastICA
from sklearn.feature_selection import SelectFpr
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.impute import KNNImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
)
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_limits

from skylane.convert.errors import Refused
from skylane.convert.export.emitters import emit
from skylane.convert.export.emitters.functions import COMPOSED, OPERATORS
from skylane.convert.export.onnx_graph import operators
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import NumberType, infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.verification.answers import by_estimator, by_graph
from skylane.convert.verification.parity import difference, flips

ROWS = np.abs(np.random.default_rng(0).normal(size=(120, 4))) + 0.1
CLASSES = (ROWS[:, 0] > 0.6).astype(int) + (ROWS[:, 1] > 0.9)
NUMBERS = ROWS @ [1.0, -2.0, 0.5, 3.0]


def fitted(estimator: Any, target: Any = None) -> Any:
    with threadpool_limits(1):
        return estimator.fit(ROWS, target)


def worst(estimator: Any, numbers: NumberType, precision: NumberType) -> float:
    """How far the graph is from scikit-learn, in standard deviations; infinite if a label differs."""
    layout, frame = infer(estimator, ROWS)
    task = task_of(estimator)
    graph = emit(estimator, layout, numbers, task, precision).SerializeToString()
    actual = by_graph(Session(graph).named(layout.tensors(frame, numbers)))
    expected = by_estimator(estimator, layout, frame, task)
    scale = 1.0 if expected.numbers is None or task == "classifier" else float(np.std(expected.numbers)) or 1.0
    return np.inf if flips(expected, actual).any() else float(difference(expected, actual).max()) / scale


@pytest.mark.parametrize(
    "step",
    [
        *(pytest.param(FunctionTransformer(known), id=known.__name__) for known in (*OPERATORS, *COMPOSED)),
        pytest.param(FunctionTransformer(), id="no function"),
        pytest.param(PowerTransformer("box-cox"), id="Box and Cox's powers"),
        pytest.param(Normalizer("max"), id="divided by the largest"),
        pytest.param(Normalizer("l1"), id="divided by the sum"),
        pytest.param(Binarizer(threshold=0.7), id="above a threshold"),
        pytest.param(QuantileTransformer(n_quantiles=30), id="quantiles"),
        pytest.param(PCA(2, whiten=True), id="whitened"),
        pytest.param(FastICA(3, tol=0.5, random_state=0), id="independent components"),
        pytest.param(FactorAnalysis(2), id="factors"),
    ],
)
@pytest.mark.parametrize(
    ("numbers", "precision", "allowed"),
    [("float32", "float32", 5e-6), ("float64", "float32", 1e-6), ("float64", "float64", 1e-12)],
)
def test_transformers(step: Any, numbers: NumberType, precision: NumberType, allowed: float) -> None:
    """Behind a linear model, which folds what it can."""
    assert worst(fitted(make_pipeline(step, Ridge()), NUMBERS), numbers, precision) < allowed


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("settings", [{}, {"add_indicator": True}, {"keep_empty_features": True}])
def test_gaps_are_filled_from_rows_that_are_alike(weights: str, settings: dict[str, bool]) -> None:
    """A column without a number, rows with nothing but gaps, and rows of the training, which are at no distance."""
    random = np.random.default_rng(0)
    rows = np.where(random.random(ROWS.shape) < 0.3, np.nan, ROWS)
    rows[:, 2], rows[:3] = np.nan, np.nan
    imputer = KNNImputer(n_neighbors=4, weights=weights, **settings).fit(rows[:60])
    layout, frame = infer(imputer, rows[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, about the column without a number
        expected = by_estimator(imputer, layout, frame, "transformer")
    graph = emit(imputer, layout, "float64", "transformer", "float64").SerializeToString()
    actual = by_graph(Session(graph).named(layout.tensors(frame, "float64")))
    assert difference(expected, actual).max() < 1e-9


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
def test_a_threshold_decides(positive: int, method: str) -> None:
    """For the class that is looked for, wherever it stands."""
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.3, pos_label=positive, response_method=method)
    assert worst(fitted(model, (CLASSES > 0).astype(int)), "float64", "float64") < 1e-12


KERNELS = (
    kernels.RBF([1.0, 2.0, 3.0, 1.0]),
    kernels.Matern(nu=0.5),
    kernels.Matern(nu=1.5) * kernels.DotProduct(),
    kernels.Matern(nu=2.5) + kernels.ConstantKernel(0.5),
    kernels.Matern(nu=np.inf) ** 2,
    kernels.RationalQuadratic(alpha=0.7) + kernels.RBF(),
    2.0 * kernels.ExpSineSquared(periodicity=3.0),
)


@pytest.mark.parametrize("kernel", [pytest.param(kernel, id=str(kernel)) for kernel in KERNELS])
def test_kernels(kernel: Any) -> None:
    process = GaussianProcessRegressor(kernel + kernels.WhiteKernel(0.3), optimizer=None, normalize_y=True, alpha=20.0)
    # The distance of a row to itself is 1e-8, not 0: the root of what is left of a difference of equal squares.
    assert worst(fitted(process, NUMBERS), "float64", "float64") < 1e-7


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Nystroem("poly", degree=2.5, n_components=9, random_state=0), id="powers"),
        pytest.param(Nystroem("linear", n_components=4, random_state=0), id="products"),
        pytest.param(Nystroem(gamma=0.3, n_components=9, random_state=0), id="distances"),
        pytest.param(RBFSampler(n_components=9, random_state=0), id="random waves"),
    ],
)
def test_kernels_as_columns(step: Any) -> None:
    assert worst(fitted(make_pipeline(step, Ridge()), NUMBERS), "float64", "float64") < 1e-9


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly", "sigmoid"])
def test_ridge_of_kernels(kernel: str) -> None:
    assert worst(fitted(KernelRidge(kernel=kernel, gamma=0.1), NUMBERS), "float64", "float64") < 1e-9


def test_models_of_the_same_columns_are_one_product() -> None:
    estimator = fitted(OneVsRestClassifier(LinearSVC()), CLASSES)
    model = emit(estimator, infer(estimator, ROWS)[0], "float32", "classifier")
    assert operators(model) == {"Gemm": 1, "ArgMax": 1}


@pytest.mark.parametrize(
    ("estimator", "target", "message"),
    [
        pytest.param(
            make_pipeline(FunctionTransformer(lambda rows: rows + 1), Ridge()), NUMBERS,
            "the step functiontransformer calls '<lambda>'.*do it before", id="a function of one's own",
        ),
        pytest.param(
            make_pipeline(QuantileTransformer(n_quantiles=9, output_distribution="normal"), Ridge()), NUMBERS,
            "use 'uniform'", id="quantiles of the normal distribution",
        ),
        pytest.param(SelectFpr(alpha=1e-300), CLASSES, "SelectFpr chose none of the columns", id="no column"),
        pytest.param(make_pipeline(SplineTransformer(), Ridge()), NUMBERS, "use PolynomialFeatures", id="splines"),
        pytest.param(NearestCentroid(metric="manhattan"), CLASSES, "only the Euclidean", id="centres, another metric"),
        pytest.param(
            GaussianProcessRegressor(kernels.Matern(nu=3.0), optimizer=None, alpha=0.1), NUMBERS,
            r"Matern\(nu=3.0\): use 0.5, 1.5, 2.5 or inf", id="Bessel functions",
        ),
        pytest.param(
            SVC(kernel=lambda a, b: a @ b.T), CLASSES, "a kernel of its own", id="a kernel of one's own"
        ),
        pytest.param(
            TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()), NUMBERS,
            "undoes PowerTransformer on the target", id="a target that cannot be turned back",
        ),
    ],
)  # fmt: skip
def test_refused_by_name_with_advice(estimator: Any, target: Any, message: str) -> None:
    with pytest.raises(Refused, match=message):
        worst(fitted(estimator, target), "float64", "float64")


def test_another_metric_is_for_skl2onnx() -> None:
    assert worst(fitted(KNeighborsClassifier(3, metric="manhattan"), CLASSES), "float64", "float64") < 1e-12


def test_probabilities_of_two_classes_sum_to_one() -> None:
    estimator = fitted(LogisticRegression(), CLASSES > 0)
    layout, frame = infer(estimator, ROWS)
    session = Session(emit(estimator, layout, "float32", "classifier").SerializeToString())
    shares = session.named(layout.tensors(frame, "float32"))["probabilities"]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=2e-7)
