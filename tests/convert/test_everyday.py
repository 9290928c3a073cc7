"""Pipelines of everyday that were refused, answered wrongly, or failed with words of Python's or ONNX Runtime's."""

import re
import warnings
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as sampled_pipeline
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingRegressor, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  it enables the import below
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from skylane.convert import convert_pipeline
from skylane.convert.errors import BadRows, ConversionError, Unconvertible
from skylane.convert.loading.rows_file import near
from support.reported import NAMED, PAIR, SURVIVED, TEXTS, THREE, TWO, VALUES, Sample, verdict

pytestmark = pytest.mark.usefixtures("untimed")

_random = np.random.default_rng(1)
ROWS: Final = len(TWO.target)
MANY: Final = pd.DataFrame(
    {"town": [f"town {_random.integers(60)}" for _ in range(ROWS)], "x": _random.normal(size=ROWS)}
)
"""So many categories that one-hot columns are sparse."""
_even = MANY["town"].str[-1].isin(list("02468")).to_numpy(np.bool_)
TOWNS: Final = Sample(MANY, _even.astype(np.int64))
PRICES: Final = Sample(MANY, _even + MANY["x"].to_numpy())


def one_hot(*steps: Any) -> Any:
    """A model after one-hot columns of many categories."""
    columns = ColumnTransformer([("town", OneHotEncoder(handle_unknown="ignore"), ["town"])], remainder="passthrough")
    return make_pipeline(columns, *steps)


@pytest.mark.parametrize(
    ("estimator", "sample"),
    [
        pytest.param(one_hot(KNeighborsClassifier(5)), TOWNS, id="neighbours, whose rows are sparse"),
        pytest.param(one_hot(KNeighborsRegressor(5, weights="distance")), PRICES, id="neighbours by distance"),
        pytest.param(one_hot(KernelRidge(kernel="rbf", gamma=0.1)), PRICES, id="kernel ridge"),
        pytest.param(one_hot(Nystroem(n_components=20, random_state=0), Ridge()), PRICES, id="a kernel map"),
        pytest.param(one_hot(SVC()), TOWNS, id="SVM"),
        pytest.param(one_hot(SVR()), PRICES, id="SVM of numbers"),
        pytest.param(one_hot(BaggingClassifier(SVC(), 3, random_state=0)), TOWNS, id="bagged SVMs"),
        pytest.param(one_hot(OneVsRestClassifier(SVC())), TOWNS, id="one SVM against the rest"),
        pytest.param(
            one_hot(StackingClassifier([("svc", SVC())], LogisticRegression(), cv=2)), TOWNS, id="a stack with an SVM"
        ),
        pytest.param(one_hot(SparseRandomProjection(8, random_state=0), Ridge()), PRICES, id="a sparse projection"),
        pytest.param(
            make_pipeline(ColumnTransformer([("t", CountVectorizer(min_df=1), "text")], sparse_threshold=1.0), SVC()),
            TEXTS, id="SVM of words",
        ),
        pytest.param(
            sampled_pipeline(StandardScaler(), RandomOverSampler(random_state=0), LogisticRegression()), TWO,
            id="a sampler between steps",
        ),
        pytest.param(
            sampled_pipeline(RandomOverSampler(random_state=0), OneHotEncoder(handle_unknown="ignore"), SVC()),
            Sample(MANY[["town"]], TOWNS.target), id="a sampler of texts comes first",
        ),
        pytest.param(
            GridSearchCV(
                sampled_pipeline(StandardScaler(), RandomOverSampler(random_state=0), LogisticRegression()),
                {"logisticregression__C": [0.1, 1.0]}, cv=2,
            ),
            TWO, id="a search over a pipeline with a sampler",
        ),
        pytest.param(
            HalvingGridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                                {"logisticregression__C": [0.1, 1.0]}, cv=2, random_state=0),
            TWO, id="a search by halving",
        ),
        pytest.param(
            MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=5)), PAIR,
            id="two numbers of histogram boosting",
        ),
        pytest.param(RegressorChain(Ridge(), order=[1, 0]), PAIR, id="a chain of two"),
        pytest.param(
            make_pipeline(LinearDiscriminantAnalysis(), LogisticRegression()), THREE, id="discriminants inside"
        ),
        pytest.param(
            make_pipeline(LinearDiscriminantAnalysis(solver="eigen", n_components=1), KNeighborsClassifier()), THREE,
            id="one discriminant, of the other solver",
        ),
        pytest.param(
            make_pipeline(
                make_union(
                    VotingClassifier([("a", LogisticRegression()), ("b", SVC(probability=True))], voting="soft"),
                    StandardScaler(),
                ),
                LogisticRegression(),
            ),
            TWO, id="a vote beside a scaler",
        ),
        pytest.param(SelfTrainingClassifier(LogisticRegression()), THREE, id="self-training"),
        pytest.param(DummyClassifier(), TWO, id="a baseline"),
        pytest.param(DummyClassifier(strategy="constant", constant="top"), NAMED, id="always the same class"),
        pytest.param(DummyClassifier(strategy="most_frequent"), SURVIVED, id="a baseline of texts and numbers"),
        pytest.param(DummyRegressor(strategy="median"), VALUES, id="always the median"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # of imblearn and of models that do not converge
def test_answers_as_scikit_learn_does(estimator: Any, sample: Sample) -> None:
    verdict(estimator, sample)


class Own(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """A transformer that nobody knows, such as those of other libraries."""

    def fit(self, rows: Any, target: Any = None) -> "Own":
        """Learn nothing."""
        return self

    def transform(self, rows: Any) -> Any:
        """The length of each text."""
        return np.asarray([[len(str(value)) for value in row] for row in np.asarray(rows)], dtype=np.float64)


IDS: Final = pd.DataFrame({"id": 2**60 + np.arange(ROWS) % 4})

CATEGORIES: Final = MANY.astype({"town": "category"})

LEAKS: Final = re.compile(
    r"Error:|ONNXRuntimeError|Status Message|ShapeInference|has no attribute|<class|Traceback|index out of range"
    r"|emitter fails|the step  "
)
"""Words of Python's and of ONNX Runtime's."""

FITTED: Final = LogisticRegression().fit(TWO.rows, TWO.target)


def fitted(estimator: Any, sample: Sample) -> Any:
    """Trained on all rows."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return estimator.fit(sample.rows, sample.target)


@pytest.mark.parametrize(
    ("estimator", "rows", "message"),
    [
        pytest.param(
            fitted(make_pipeline(ColumnTransformer([("own", Own(), ["town"])]), LogisticRegression()), TOWNS), MANY,
            "in the step columntransformer/own: skl2onnx knows no class Own", id="texts into a class that nobody knows",
        ),
        pytest.param(LogisticRegression, TWO.rows, "LogisticRegression is a class: give a fitted", id="a class"),
        pytest.param(LogisticRegression(), TWO.rows, "is not fitted: train it first", id="not fitted"),
        pytest.param({}, TWO.rows, "expected a fitted estimator .* of type dict", id="no estimator"),
        pytest.param(
            fitted(GridSearchCV(LogisticRegression(), {"C": [1.0]}, refit=False, cv=2), TWO), TWO.rows,
            r"GridSearchCV\(refit=False\) keeps no fitted pipeline: set refit=True", id="a search without a model",
        ),
        pytest.param(
            fitted(LocalOutlierFactor(), TWO), TWO.rows, r"\(novelty=False\) .* set novelty=True",
            id="outliers of the training alone",
        ),
        pytest.param(
            fitted(RadiusNeighborsClassifier(9.0), TWO), TWO.rows,
            r"no graph .* can be made of RadiusNeighborsClassifier\(radius=9.0\)|RadiusNeighbors.*What helps",
            id="a graph that fails when it runs",
        ),
        pytest.param(
            fitted(DummyClassifier(strategy="uniform"), TWO), TWO.rows, "answers at random", id="answers at random"
        ),
        pytest.param(
            fitted(
                make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()), Sample(IDS, TWO.target)
            ),
            IDS,
            r"whole numbers above 2\^53 as categories, .*: read the column 'id' as text", id="long ids as categories",
        ),
        pytest.param(
            fitted(XGBClassifier(n_estimators=2, enable_categorical=True, n_jobs=1), Sample(CATEGORIES, TOWNS.target)),
            CATEGORIES, "trained on a data frame's categories, .*: put a OneHotEncoder or an OrdinalEncoder before it",
            id="categories of XGBoost",
        ),
        pytest.param(FITTED, "rows.csv", "not a path: read 'rows.csv' first", id="a path"),
        pytest.param(FITTED, 3.0, "there are no rows", id="a number"),
    ],
)  # fmt: skip
def test_refused_in_words_that_an_author_knows(estimator: Any, rows: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message) as refused:
        convert_pipeline(estimator, rows)
    assert not LEAKS.search(str(refused.value)), str(refused.value)


def test_what_tools_said_is_the_cause_of_a_refusal() -> None:
    with pytest.raises(Unconvertible) as refused:
        convert_pipeline(fitted(RadiusNeighborsClassifier(9.0), TWO), TWO.rows)
    assert refused.value.__cause__ is not None


def test_onnx_runtime_says_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """It warned, in colours, that two numbers are predicted where skl2onnx declares five."""
    found = convert_pipeline(fitted(PLSRegression(2), PAIR), PAIR.rows)
    assert found.manifest.outputs[0].shape == (None, 2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("target", [None, TWO.target])
def test_sparse_rows_are_rows(target: Any) -> None:
    found = convert_pipeline(fitted(LogisticRegression(), TWO), csr_matrix(TWO.rows), target=target)
    np.testing.assert_array_equal(found.conversion.frame.to_numpy(), TWO.rows)


def test_too_many_sparse_rows_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(BadRows, match="1000000 sparse rows of 1000000 columns are too many"):
        convert_pipeline(FITTED, csr_matrix((10**6, 10**6)))


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        pytest.param("origin", ["Make", "Origin"], ": did you mean 'Origin'?", id="another case"),
        pytest.param("Orign", ["Make", "Origin"], ": did you mean 'Origin'?", id="misspelt"),
        pytest.param("y", ["Make", "Origin"], "; there are Make, Origin", id="nothing alike"),
        pytest.param("y", ["c"] * 22, "; there are " + ", ".join(["c"] * 20) + " and 2 more", id="too many to name"),
        pytest.param("y", [], "", id="no names at all"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_known(name: str, known: list[str], said: str) -> None:
    assert near(name, known) == said
