"""Estimator families: converted and right, or refused with a reason. What skl2onnx gets wrong must not get through."""

import warnings
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from skylane.convert import ConversionError, Unconvertible
from skylane.convert.export.export import export
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import NumberType, infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.conversion import convert as run

pytestmark = pytest.mark.usefixtures("untimed")

X, CLASSES = make_classification(240, 6, n_informative=4, n_classes=3, random_state=0)
NUMBERS = X @ np.arange(1.0, 7.0)
GAPS = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
WORDS = np.array(["a", "b", "c"])[CLASSES]
FAR = X * 1e-3 + 1e6  # what epoch seconds and long ids look like to single precision
CATEGORIES = np.column_stack([np.random.default_rng(0).integers(0, 8, len(X)), X])

LETTERS = pd.DataFrame({"text": [f"{'Rain' if c else 'SUN'} and{' wind' * c} now" for c in CLASSES]})
"""Texts whose case matters."""


def convert(estimator: Any, rows: Any, target: Any) -> Conversion:
    with threadpool_limits(1):  # histogram boosting would start a thread for each core, and spin
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of estimators that do not converge on so few rows
            estimator.fit(rows, target)
        return run(estimator, rows, target=None, tolerance="close", quantize="auto", force=False, say=lambda _: None)


def scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


@pytest.mark.parametrize(
    ("estimator", "rows", "target", "chosen"),
    [
        pytest.param(scaled(LogisticRegression()), X, CLASSES, "float32", id="logistic regression"),
        pytest.param(scaled(LogisticRegression()), FAR, CLASSES, "float64", id="logistic regression on far numbers"),
        pytest.param(Ridge(), FAR, NUMBERS, "float64", id="ridge on far numbers"),
        pytest.param(Ridge(), X, np.column_stack([NUMBERS, -NUMBERS]), "float32", id="two predictions at once"),
        pytest.param(
            RandomForestRegressor(3), X, np.column_stack([NUMBERS, -NUMBERS]), "float32",
            id="two predictions of a forest",
        ),
        pytest.param(LogisticRegression(), X, CLASSES * 1.0, "float32", id="whole floats as labels"),
        pytest.param(LogisticRegression(), X, CLASSES > 0, "float32", id="booleans as labels"),
        pytest.param(LogisticRegression(), X, WORDS, "float32", id="texts as labels"),
        pytest.param(scaled(SGDClassifier(random_state=0)), X, CLASSES, "float32", id="labels without probabilities"),
        pytest.param(LinearSVC(), X, CLASSES, "float32", id="linear SVM"),
        pytest.param(scaled(SVC()), X, CLASSES, "float32", id="SVM"),
        pytest.param(scaled(SVR()), X, NUMBERS, "float32", id="SVM regression"),
        pytest.param(scaled(KNeighborsRegressor()), X, NUMBERS, "float32", id="nearest neighbours"),
        pytest.param(GaussianNB(), X, CLASSES, "float32", id="naive Bayes"),
        pytest.param(DecisionTreeClassifier(max_depth=5), GAPS, CLASSES, "float32", id="a tree with gaps"),
        pytest.param(RandomForestClassifier(10, random_state=0), GAPS, CLASSES, "float32", id="a forest with gaps"),
        pytest.param(ExtraTreesRegressor(10, random_state=0), GAPS, NUMBERS, "float32", id="extra trees with gaps"),
        pytest.param(GradientBoostingClassifier(n_estimators=5), X, CLASSES, "float32", id="gradient boosting"),
        pytest.param(
            BaggingClassifier(DecisionTreeClassifier(max_depth=3), 4), GAPS, CLASSES, "float32",
            id="bagged trees with gaps",
        ),
        pytest.param(
            HistGradientBoostingClassifier(max_iter=5), FAR.astype(np.float32), CLASSES, "float32",
            id="histogram boosting trained in single precision",
        ),
        pytest.param(
            HistGradientBoostingClassifier(max_iter=5), FAR, CLASSES, "float64",
            id="double thresholds of histogram boosting",
        ),
        pytest.param(
            HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]), CATEGORIES, CLASSES, "float64",
            id="categorical splits, which skl2onnx ignores",
        ),
        pytest.param(
            GridSearchCV(scaled(LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2),
            X, CLASSES, "float32", id="a grid search",
        ),
        pytest.param(scaled(KMeans(3, n_init=1, random_state=0)), X, None, "float32", id="clusters"),
        pytest.param(IsolationForest(n_estimators=5, random_state=0), X, None, "float32", id="outliers"),
        pytest.param(scaled(PCA(2)), X, None, "float32", id="a transformer"),
    ],
)  # fmt: skip
def test_converted_and_right(estimator: Any, rows: Any, target: Any, chosen: str) -> None:
    found = convert(estimator, rows, target)
    verdict = found.verdicts[found.chosen]
    assert found.tried[found.chosen].built.numbers == chosen
    assert verdict.parity.worst_difference <= found.tolerance.max_difference
    assert verdict.parity.decided_flips == 0


@pytest.mark.parametrize(
    "forest",
    [
        pytest.param(RandomForestClassifier(40, max_depth=None, random_state=0), id="a deep forest"),
        pytest.param(RandomForestRegressor(20, max_depth=None, random_state=0), id="a deep forest of numbers"),
    ],
)
@pytest.mark.parametrize("numbers", ["float32", "float64"])
def test_exports_of_trees_that_split_gaps_from_the_rest_end(forest: Any, numbers: NumberType) -> None:
    """Such a split has an infinite threshold, between whose neighbours skl2onnx would search for ever."""
    rows = np.where(np.random.default_rng(1).random(X.shape) < 0.4, np.nan, X)
    forest.fit(rows, CLASSES + np.isnan(rows[:, 0]))
    assert any(np.isinf(tree.tree_.threshold).any() for tree in forest.estimators_)
    layout, _ = infer(forest, rows)
    graph = export(forest, layout, numbers, task_of(forest)).SerializeToString()
    if numbers == "float32":  # in doubles the graph is no candidate: it need not be right, or load
        answers = Session(graph).run({"features": rows.astype(np.float32)})[-1]
        expected = forest.predict_proba(rows) if hasattr(forest, "predict_proba") else forest.predict(rows)
        np.testing.assert_allclose(answers.reshape(expected.shape), expected, atol=1e-5)


def test_exports_hand_protobuf_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """protobuf 7 takes no numbers of numpy and no booleans; histogram boosting is full of them."""
    seen: set[type] = set()
    make = onnx.helper.make_attribute

    def watched(key: str, value: Any, *others: Any, **named: Any) -> Any:
        seen.update(map(type, value) if isinstance(value, list) else [type(value)])
        return make(key, value, *others, **named)

    monkeypatch.setattr(onnx.helper, "make_attribute", watched)
    with threadpool_limits(1):
        boosted = HistGradientBoostingClassifier(max_iter=2).fit(X, CLASSES)
    export(boosted, infer(boosted, X)[0], "float32", "classifier")
    assert seen == {int, float, str}
    assert onnx.helper.make_attribute is watched, "put back afterwards"


@pytest.mark.parametrize(
    ("estimator", "rows", "target", "error", "message"),
    [
        pytest.param(
            RandomForestClassifier(3), X, np.column_stack([CLASSES, CLASSES]), Unconvertible, "several questions",
            id="several targets",
        ),
        pytest.param(
            scaled(MLPClassifier((4,), max_iter=2)), X, np.column_stack([CLASSES > 0, CLASSES > 1]), Unconvertible,
            "several questions", id="a network of several labels",
        ),
        pytest.param(
            RidgeClassifier(), X, np.column_stack([CLASSES > 0, CLASSES > 1]), Unconvertible, "several questions",
            id="a linear model of several labels",
        ),
    ],
)  # fmt: skip
def test_refused_with_a_reason(
    estimator: Any, rows: Any, target: Any, error: type[ConversionError], message: str
) -> None:
    with pytest.raises(error, match=message) as refused:
        convert(estimator, rows, target)
    assert "\n" not in str(refused.value)


def on_text(vectorizer: Any) -> Any:
    return make_pipeline(ColumnTransformer([("text", vectorizer, "text")]), LogisticRegression())


def test_a_vectorizer_in_a_column_transformer_is_right_whatever_the_locale() -> None:
    found = convert(on_text(TfidfVectorizer()), LETTERS, CLASSES)
    normalizers = [node for node in onnx.load_from_string(found.tried[found.chosen].built.content).graph.node
                   if node.op_type == "StringNormalizer"]  # fmt: skip
    assert [a.s for node in normalizers for a in node.attribute if a.name == "locale"] == [b"C.UTF-8"]
    assert found.verdicts[found.chosen].parity.worst_difference < 1e-6


@pytest.mark.parametrize(
    "vectorizer",
    [
        pytest.param(TfidfVectorizer(sublinear_tf=True), id="logarithms of counts"),
        pytest.param(TfidfVectorizer(ngram_range=(1, 2)), id="pairs of words, across those of one letter"),
        pytest.param(TfidfVectorizer(norm="l1", use_idf=False), id="shares"),
        pytest.param(TfidfVectorizer(token_pattern=r"\S+", lowercase=False), id="whatever stands between blanks"),
        pytest.param(CountVectorizer(binary=True, stop_words=["wind"]), id="whether a word occurs"),
    ],
)
def test_words_are_told_apart_as_in_python(vectorizer: Any) -> None:
    """Letters of all alphabets; texts without a word."""
    random = np.random.default_rng(0)
    words = ["Köln", "ÜBER", "naïve", "don't", "a", "日本", "e-mail", "wind", "x_1", "№ 5"]
    texts = pd.DataFrame({"text": [" ".join(random.choice(words, random.integers(0, 9))) for _ in CLASSES]})
    found = convert(on_text(vectorizer), texts, texts["text"].str.contains("Köln|wind"))
    assert found.verdicts[found.chosen].parity.worst_difference < 1e-6


@pytest.mark.parametrize(
    ("vectorizer", "message"),
    [
        pytest.param(TfidfVectorizer(analyzer="char"), "analyzer='char', .* use analyzer='word'", id="characters"),
        pytest.param(CountVectorizer(strip_accents="unicode"), "use strip_accents=None", id="accents"),
        pytest.param(CountVectorizer(token_pattern="[a-z]+"), "use one of", id="a pattern of one's own"),
        pytest.param(TfidfVectorizer(tokenizer=str.split, token_pattern=None), "code of your own", id="own code"),
        pytest.param(
            TfidfVectorizer(ngram_range=(1, 2), stop_words=["and"]), "use ngram_range=", id="pairs across stop words"
        ),
        pytest.param(HashingVectorizer(n_features=8), "use TfidfVectorizer", id="hashed words"),
    ],
)
def test_words_that_graphs_would_tell_apart_otherwise_are_refused(vectorizer: Any, message: str) -> None:
    with pytest.raises(Unconvertible, match=f"the step columntransformer/text .*{message}"):
        convert(on_text(vectorizer), LETTERS, CLASSES)


def test_capitals_that_python_lowers_to_a_final_sigma_are_refused() -> None:
    texts = LETTERS.assign(text=LETTERS["text"] + " ΟΔΟΣ")
    with pytest.raises(Unconvertible, match="'οδος' with a final sigma"):
        convert(on_text(TfidfVectorizer()), texts, CLASSES)


def test_a_vectorizer_without_a_column_says_what_to_do() -> None:
    texts = LETTERS["text"].tolist()
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, CLASSES)
    with pytest.raises(Unconvertible, match=r"begin it with ColumnTransformer\(\[\('text', TfidfVectorizer\(\)"):
        run(estimator, LETTERS, target=None, tolerance="close", quantize="auto", force=False, say=lambda _: None)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    gaps=st.sampled_from([0.0, 0.05, 0.5]),
    depth=st.integers(1, 8),
    trees=st.integers(1, 3),
    criterion=st.sampled_from(["gini", "entropy"]),
)
def test_law_forests_send_every_row_where_scikit_learn_does(
    seed: int, gaps: float, depth: int, trees: int, criterion: str
) -> None:
    """Random data with gaps, random settings; asked about the rows, and about gaps in every column."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(60, 3)).round(1)
    rows[random.random(rows.shape) < gaps] = np.nan
    target = random.integers(0, 2, 60)
    target[:2] = 0, 1
    forest = RandomForestClassifier(trees, max_depth=depth, criterion=criterion, random_state=seed).fit(rows, target)
    layout, _ = infer(forest, rows)
    session = Session(export(forest, layout, "float32", task_of(forest)).SerializeToString())
    asked = np.vstack([rows, np.where(np.eye(3, dtype=bool), np.nan, rows[:3]), np.full((1, 3), np.nan)])
    _, probabilities = session.run({"features": asked.astype(np.float32)})
    np.testing.assert_allclose(probabilities, forest.predict_proba(asked), atol=1e-6)


def test_a_gap_is_told_to_the_graph_by_a_text_that_is_no_category() -> None:
    """The empty text is a category here, of so little weight that it nearly answers as a gap does."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"plan": random.choice(["", "paid"], 200), "size": random.normal(size=200)})
    columns = ColumnTransformer([("texts", OneHotEncoder(handle_unknown="ignore"), ["plan"])], remainder="passthrough")
    found = convert(make_pipeline(columns, LogisticRegression(C=1e-7)), rows, rows["size"] > 0)
    assert found.layout.columns[0].missing == "nan"
