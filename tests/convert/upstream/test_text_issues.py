"""Words that other converters were reported to count wrongly, or not at all: the vectorizers of those reports.

Each is converted, judged by the gate with its probes, and asked about texts that nobody has seen.
"""

from typing import Any

import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC

from skylane.convert.errors import Unconvertible
from support.reported import TEXTS, verdict

pytestmark = pytest.mark.usefixtures("untimed")


def over_texts(vectorizer: Any, model: Any = None) -> Any:
    """Of one column."""
    return make_pipeline(
        ColumnTransformer([("words", vectorizer, "text")]), LogisticRegression() if model is None else model
    )


def in_one(model: Any) -> Any:
    """A vectorizer and a model, as they stand in ensembles."""
    return over_texts(TfidfVectorizer(), model)


@pytest.mark.parametrize(
    ("source", "estimator"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1055", over_texts(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=100)),
            id="logarithms of counts",
        ),
        pytest.param("onnx/sklearn-onnx#196", over_texts(TfidfVectorizer()), id="texts without a word are not NaN"),
        pytest.param(
            "onnx/onnx#6078", over_texts(TfidfVectorizer(min_df=0.2, max_df=0.6, max_features=6)),
            id="words neither too rare nor too frequent",
        ),
        pytest.param(
            "onnx/onnx#6078", over_texts(TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_features=20)),
            id="pairs of words, the most frequent ones",
        ),
        pytest.param(
            "onnx/sklearn-onnx#644", over_texts(CountVectorizer(vocabulary=["document", "first", "köln"])),
            id="a vocabulary that was given",
        ),
        pytest.param(
            "onnx/sklearn-onnx#917", over_texts(TfidfVectorizer(stop_words="english")), id="English without stop words"
        ),
        pytest.param("onnx/sklearn-onnx#243", over_texts(CountVectorizer(binary=True)), id="whether a word occurs"),
        pytest.param(
            "onnx/onnxmltools#223", over_texts(make_pipeline(CountVectorizer(), TfidfTransformer())),
            id="counts, weighed by another step",
        ),
        pytest.param("onnx/sklearn-onnx#265", over_texts(TfidfVectorizer(), LinearSVC()), id="a linear SVM of words"),
        pytest.param(
            "onnx/sklearn-onnx#113",
            make_pipeline(
                over_texts(TfidfVectorizer(min_df=2, max_df=0.8))[0], TruncatedSVD(5, random_state=0),
                OneVsRestClassifier(LogisticRegression(class_weight="balanced")),
            ),
            id="words, projected, one class against the rest",
        ),
        pytest.param(
            "onnx/sklearn-onnx#717",
            VotingClassifier(
                [
                    ("svc", in_one(SVC(probability=True, random_state=0))),
                    ("mnb", in_one(MultinomialNB())),
                    ("mlp", in_one(MLPClassifier((4,), max_iter=50, random_state=0))),
                    ("cnb", in_one(ComplementNB())),
                    ("sgd", in_one(SGDClassifier(loss="log_loss", random_state=0))),
                ],
                voting="soft",
            ),
            id="a vote of five pipelines of words",
        ),
        pytest.param(
            "scikit-learn/scikit-learn#6098", over_texts(CountVectorizer(token_pattern=r"(?u)\b\w+\b")),
            id="words of one letter",
        ),
    ],
)  # fmt: skip
def test_answers_as_scikit_learn_does(source: str, estimator: Any) -> None:
    verdict(estimator, TEXTS)


@pytest.mark.parametrize(
    ("source", "vectorizer", "message"),
    [
        pytest.param(
            "onnx/sklearn-onnx#1055", TfidfVectorizer(token_pattern=r"\w+|[^\w\s]+", sublinear_tf=True), "use one of",
            id="words and signs",
        ),
        pytest.param(
            "microsoft/onnxruntime#4201", CountVectorizer(ngram_range=(1, 2), stop_words=["the", "is"]),
            r"use ngram_range=\(1, 1\)", id="pairs of words with a stop word between them",
        ),
        pytest.param("onnx/sklearn-onnx#446", CountVectorizer(analyzer="char_wb"), "use analyzer='word'", id="letters"),
        pytest.param(
            "onnx/sklearn-onnx#537", TfidfVectorizer(analyzer="char", ngram_range=(2, 3)), "use analyzer='word'",
            id="letters across words",
        ),
        pytest.param(
            "onnx/sklearn-onnx#1144", TfidfVectorizer(strip_accents="unicode"), "use strip_accents=None", id="accents"
        ),
        pytest.param(
            "scikit-learn/scikit-learn#13733", TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b[a-z ]{1,10}\b"),
            "use one of", id="words that hold blanks",
        ),
        pytest.param("onnx/sklearn-onnx#385", HashingVectorizer(n_features=16), "use TfidfVectorizer", id="hashes"),
    ],
)  # fmt: skip
def test_refused_with_what_to_do(source: str, vectorizer: Any, message: str) -> None:
    with pytest.raises(Unconvertible, match=f"the step columntransformer/words .*{message}"):
        verdict(over_texts(vectorizer), TEXTS)
