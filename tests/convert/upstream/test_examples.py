"""The pipelines of sklearn-onnx's own gallery of examples, in few rows: right, or refused with what to do.

Each names the page it is on, https://onnx.ai/sklearn-onnx/ before it. Pages that show another library's functions, or
pictures of graphs, have nothing to be converted.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import NMF, PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.manifold import TSNE
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier

from skylane.convert.errors import Unconvertible
from support.reported import (
    MAGNITUDES,
    NOBODY,
    POSITIVE,
    ROWS,
    SURVIVED,
    TEXTS,
    THREE,
    TRAINED_ON,
    VALUES,
    Sample,
    verdict,
)

pytestmark = pytest.mark.usefixtures("untimed")


def _drawn(load: Any) -> Sample:
    """So many rows of one of scikit-learn's data sets."""
    data = load()
    places = np.random.default_rng(0).choice(len(data.data), ROWS, replace=len(data.data) < ROWS)
    return Sample(data.data[places], data.target[places])


IRIS, DIGITS, CANCER = map(_drawn, (load_iris, load_digits, load_breast_cancer))
BOOSTING: dict[str, Any] = {"n_estimators": 5, "n_jobs": 1}

SMALL = Sample(
    pd.DataFrame(
        {
            "CAT1": np.where(VALUES.target > 0.3, "a", "b"),
            "CAT2": np.where(VALUES.rows[:, 0] > 0, "c", "d"),
            "num1": VALUES.rows[:, 1],
            "num2": VALUES.rows[:, 2],
        }
    ),
    THREE.target % 2,
)

MAIL = pd.DataFrame(
    {
        "subject": TEXTS.rows["text"],
        "body": TEXTS.rows["text"].iloc[::-1].to_numpy(),
        "length": np.arange(ROWS) % 17,
    }
)
"""Two columns of texts and one of numbers, as mails of news groups have."""

MARKED = Sample(
    pd.DataFrame({
        "c0": IRIS.rows[:, 0], "c1": IRIS.rows[:, 1],
        "text": np.array(["class zero", "class one", "class two"])[IRIS.target],
    }),
    IRIS.target,
)  # fmt: skip
"""Numbers beside a text, most of whose counts are nought."""

STRANGE = Sample(
    pd.DataFrame({"text": np.array([
        "This a sentence.", "This a sentence with more characters $^*&'(-...", "c79857654",
        "var = ClassName(var2, user=mail@anywhere.com, pwd=\")_~-('&]@^\\`|[{#\")", "01-03-05T11:12:13",
        "https://complex-url.com/;76543u3456?g=hhh&amp;h=23", "https://complex-url.com/;dd76543u3456?g=ddhhh",
    ])[np.arange(ROWS) % 7]}),
    np.arange(ROWS) % 7 % 2,
)  # fmt: skip
"""Addresses, times and code."""


class PredictableTSNE(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Neighbours that predict where t-SNE would have put a row."""

    def fit(self, rows: Any, target: Any = None) -> "PredictableTSNE":
        self.model_ = KNeighborsRegressor().fit(rows, TSNE(perplexity=5, random_state=0).fit_transform(rows))
        return self

    def transform(self, rows: Any) -> Any:
        return self.model_.predict(rows)


def mixed(texts: list[str], numbers: list[str]) -> Any:
    """Texts in columns of their own, numbers filled and scaled."""
    filled = Pipeline([("imputer", SimpleImputer(strategy="median")), ("scaler", StandardScaler())])
    return ColumnTransformer([("num", filled, numbers), ("cat", OneHotEncoder(handle_unknown="ignore"), texts)])


def of_mails(weights: dict[str, float] | None = None) -> Any:
    """Subjects and bodies, each with a vocabulary of its own."""
    branches = [
        ("subject", TfidfVectorizer(min_df=2), "subject"),
        ("body", make_pipeline(TfidfVectorizer(), ), "body"),
        ("length", MinMaxScaler(), ["length"]),
    ]  # fmt: skip
    return ColumnTransformer(branches, transformer_weights=weights)


def beside_text(model: Any) -> Any:
    """Counts of words, kept sparse beside numbers."""
    words = Pipeline([("count", CountVectorizer()), ("tfidf", TfidfTransformer())])
    columns = [("scale1", StandardScaler(), ["c0", "c1"]), ("subject", words, "text")]
    return make_pipeline(ColumnTransformer(columns, sparse_threshold=1.0), model)


def own_function(rows: Any) -> Any:
    """Of an author's own."""
    return 100 * (rows - rows.mean())


@pytest.mark.parametrize(
    ("page", "estimator", "sample"),
    [
        pytest.param(
            "auto_tutorial/plot_abegin_convert_pipeline.html",
            VotingRegressor(
                [
                    ("gb", GradientBoostingRegressor(n_estimators=8, random_state=1)),
                    ("rf", make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=4))),
                    ("lr", LinearRegression()),
                ]
            ),
            VALUES, id="train and deploy a pipeline",
        ),
        pytest.param(
            "auto_tutorial/plot_dbegin_options_zipmap.html", LogisticRegression(max_iter=500), IRIS,
            id="probabilities as an array",
        ),
        pytest.param(
            "auto_tutorial/plot_ebegin_float_double.html",
            Pipeline([("scaler", StandardScaler()), ("dt", DecisionTreeRegressor(max_depth=10, random_state=0))]),
            MAGNITUDES, id="issues when switching to float",
        ),
        pytest.param(
            "auto_tutorial/plot_gbegin_dataframe.html",
            make_pipeline(
                ColumnTransformer(
                    [("cat", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["CAT1", "CAT2"])],
                    remainder="passthrough",
                ),
                RandomForestClassifier(10, random_state=0),
            ),
            SMALL, id="a data frame as input",
        ),
        pytest.param(
            "auto_tutorial/plot_gexternal_lightgbm.html",
            make_pipeline(StandardScaler(), LGBMClassifier(**BOOSTING, verbose=-1)), IRIS, id="LightGBM classifies",
        ),
        pytest.param(
            "auto_tutorial/plot_gexternal_lightgbm_reg.html",
            LGBMRegressor(n_estimators=200, n_jobs=1, verbose=-1, min_child_samples=5), VALUES,
            id="sums of many trees of LightGBM",
        ),
        pytest.param(
            "auto_tutorial/plot_gexternal_xgboost.html",
            make_pipeline(StandardScaler(), XGBClassifier(**BOOSTING, max_depth=3)), IRIS, id="XGBoost classifies",
        ),
        pytest.param(
            "auto_tutorial/plot_transformer_discrepancy.html",
            make_pipeline(ColumnTransformer([("tfidf", TfidfVectorizer(), "text")]), LogisticRegression()), STRANGE,
            id="words of addresses, times and code",
        ),
        pytest.param(
            "auto_tutorial/plot_usparse_xgboost.html",
            beside_text(RandomForestClassifier(5, max_depth=3, random_state=0)), MARKED,
            id="a forest behind sparse words",
        ),
        pytest.param(
            "auto_tutorial/plot_usparse_xgboost.html", beside_text(LGBMClassifier(**BOOSTING, max_depth=3, verbose=-1)),
            MARKED, id="LightGBM behind sparse words",
        ),
        pytest.param(
            "auto_tutorial/plot_usparse_xgboost.html", beside_text(XGBClassifier(**BOOSTING, max_depth=3)), MARKED,
            id="XGBoost behind sparse words, whose noughts it takes for gaps",
        ),
        pytest.param(
            "auto_examples/plot_complex_pipeline.html",
            make_pipeline(mixed(["embarked", "sex", "pclass"], ["age", "fare"]), LogisticRegression()), SURVIVED,
            id="columns of passengers",
        ),
        pytest.param(
            "auto_examples/plot_convert_decision_function.html", LogisticRegression(max_iter=500),
            Sample(IRIS.rows, np.where(IRIS.target > 0, "yes", "no")), id="probabilities or raw scores",
        ),
        pytest.param(
            "auto_examples/plot_convert_model.html", RandomForestClassifier(10, random_state=0), IRIS,
            id="train, convert and predict",
        ),
        pytest.param(
            "auto_examples/plot_gpr.html", GaussianProcessRegressor(DotProduct() + RBF(), alpha=1.0), VALUES,
            id="a Gaussian process in doubles",
        ),
        pytest.param(
            "auto_examples/plot_benchmark_cdist.html", KNeighborsRegressor(), Sample(IRIS.rows, IRIS.target * 1.0),
            id="distances to many rows",
        ),
        pytest.param(
            "auto_examples/plot_benchmark_pipeline.html",
            Pipeline([("pca", PCA(10, random_state=0)), ("logistic", LogisticRegression(max_iter=300))]), DIGITS,
            id="a projection and a linear model",
        ),
        pytest.param(
            "auto_examples/plot_tfidfvectorizer.html",
            make_pipeline(of_mails({"subject": 0.8, "body": 0.5, "length": 1.0}), LogisticRegression()),
            Sample(MAIL, TEXTS.target), id="subjects and bodies of mails, weighed",
        ),
        pytest.param(
            "auto_examples/plot_calibrated_classifier_temperature.html",
            CalibratedClassifierCV(
                FrozenEstimator(LogisticRegression(max_iter=500).fit(IRIS.rows[:TRAINED_ON], IRIS.target[:TRAINED_ON])),
                method="temperature",
            ),
            IRIS, id="a temperature for a model that was frozen",
        ),
        pytest.param(
            "auto_examples/plot_black_op.html", GaussianMixture(2, random_state=0), NOBODY, id="a mixture",
        ),
        pytest.param(
            "auto_examples/plot_investigate_pipeline.html", make_pipeline(StandardScaler(), MinMaxScaler()), NOBODY,
            id="two scalers",
        ),
        pytest.param(
            "auto_examples/plot_intermediate_outputs.html",
            make_pipeline(mixed(["embarked", "sex"], ["age", "fare"]), StandardScaler(with_mean=False), PCA(3),
                          LogisticRegression()),
            SURVIVED, id="steps one behind the other",
        ),
        pytest.param(
            "auto_examples/plot_metadata.html", LogisticRegression(max_iter=3000), CANCER,
            id="columns of very different size",
        ),
    ],
)  # fmt: skip
def test_answers_as_scikit_learn_does(page: str, estimator: Any, sample: Sample) -> None:
    verdict(estimator, sample)


@pytest.mark.parametrize(
    ("page", "estimator", "sample", "message"),
    [
        pytest.param(
            "auto_tutorial/plot_ngrams.html",
            make_pipeline(
                ColumnTransformer(
                    [("text", TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b[a-z ]{1,10}\b"), "text")]
                ),
                LogisticRegression(),
            ),
            TEXTS, "the step columntransformer/text .*use one of", id="words that hold blanks",
        ),
        pytest.param(
            "auto_tutorial/plot_jfunction_transformer.html",
            make_pipeline(FunctionTransformer(own_function), LinearRegression()), VALUES,
            "the step functiontransformer calls 'own_function'.*do it before the pipeline", id="a function",
        ),
        pytest.param(
            "auto_examples/plot_custom_model.html", make_pipeline(PredictableTSNE(), LogisticRegression()), IRIS,
            "the step predictabletsne.*What helps", id="a transformer of one's own",
        ),
        pytest.param(
            "auto_examples/plot_nmf.html", NMF(2, max_iter=400), Sample(np.abs(POSITIVE.rows), None), "NMF.*What helps",
            id="parts of non-negative numbers",
        ),
    ],
)  # fmt: skip
def test_refused_with_what_to_do(page: str, estimator: Any, sample: Sample, message: str) -> None:
    with pytest.raises(Unconvertible, match=message):
        verdict(estimator, sample)
