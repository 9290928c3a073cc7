"""Words of any language: the graph counts what the vectorizer counts, capitals and signs included."""

import sys
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emit import emit
from skylane.convert.export.emitters.texts import CAPITALS_END, PATTERNS
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import infer

TWO, ONE = r"(?u)\b\w\w+\b", r"(?u)\b\w+\b"

TRAINED = [
    "istanbul stanbul dilara lara di ai abi cd i ab isparta ığdır ı",
    "straße strasse ss köln ag ağaç ﬁn fin office naïve cafe café",
    "σ οδο αβ 2σ кот ёж 東京 สวัสดี ǆ ⅷ ª 北京 ａｂ x_y 42 don",
]


def graph_of(vectorizer: Any) -> tuple[Any, Session, Any]:
    """The vectorizer in its frame, and its graph."""
    train = pd.DataFrame({"text": TRAINED})
    estimator = ColumnTransformer([("text", vectorizer, "text")]).fit(train)
    layout, _ = infer(estimator, train)
    return estimator, Session(emit(estimator, layout, "float32", "transformer").SerializeToString()), layout


def counted(vectorizer: Any, texts: list[str]) -> tuple[Any, Any]:
    """By scikit-learn and by the graph."""
    estimator, session, layout = graph_of(vectorizer)
    rows = pd.DataFrame({"text": texts})
    expected = estimator.transform(rows)
    actual = session.named(layout.tensors(rows, "float32"))["transformed"]
    return np.asarray(expected.toarray() if hasattr(expected, "toarray") else expected), actual


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("İstanbul", id="a dotted capital i ends a word"),
        pytest.param("DİLARA", id="in the middle of one"),
        pytest.param("aİ bİ İ İİ İab abİİcd abİcd", id="alone, doubled, at the end"),
        pytest.param("Istanbul ISPARTA IĞDIR ığdır I ı", id="capital and small i without a dot"),
        pytest.param("i̇stanbul DI\u0307LARA", id="a dot of its own"),
        pytest.param("Straße STRASSE STRAẞE ẞ", id="sharp s and its capital"),
        pytest.param("ΟΔΟΣ ΟΔΟΣ. Σ 2Σ ΑΒ αβς", id="a final sigma that nobody trained"),
        pytest.param("ﬁn FIN oﬀice", id="ligatures"),
        pytest.param("ǅ Ǆ ǆ Ⅷ ª º ª1", id="titles, numerals and ordinals"),
        pytest.param("nai\u0308ve NAÏVE cafe\u0301 Café", id="combining marks and composed letters"),
        pytest.param("КОТ Ёж ЁЖ", id="Cyrillic capitals"),
        pytest.param("東京 ＡＢ 北京 สวัสดี", id="scripts without capitals, and wide ones"),
        pytest.param("x_y X_Y 42 ４２ don't \u200d a\u00adb", id="signs, digits, hyphens that are not seen"),
        pytest.param("Köln\u00a0KÖLN\u2028köln\x1fköln\x85Köln\x00Köln", id="blanks of all kinds"),
        pytest.param("", id="no word"),
        pytest.param(". $", id="signs only"),
    ],
)
@pytest.mark.parametrize(
    "vectorizer",
    [
        pytest.param(CountVectorizer(token_pattern=TWO), id="words of two letters"),
        pytest.param(CountVectorizer(token_pattern=ONE), id="words of one"),
        pytest.param(CountVectorizer(token_pattern=ONE, lowercase=False), id="case kept"),
        pytest.param(CountVectorizer(token_pattern=ONE, ngram_range=(1, 2)), id="pairs"),
        pytest.param(CountVectorizer(token_pattern=r"\S+"), id="all between blanks"),
        pytest.param(CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2)), id="pairs of all between blanks"),
        pytest.param(CountVectorizer(token_pattern=r"\S+", lowercase=False), id="all between blanks, case kept"),
        pytest.param(TfidfVectorizer(), id="weighed"),
    ],
)
def test_texts_are_counted_as_scikit_learn_does(vectorizer: Any, text: str) -> None:
    for texts in ([text], [text, "lara ab", ""]):
        expected, actual = counted(vectorizer, texts)
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Upper case characters")  # some have no small one
def test_every_cased_letter_is_lowered_as_python_does() -> None:
    """Of those that all versions of Unicode in use know; a vocabulary with a final sigma is refused."""
    cased = [chr(code) for code in range(0x10000) if unicodedata.ucd_3_2_0.category(chr(code)) in ("Lu", "Ll", "Lt")]
    letters = [letter for letter in cased if letter != "ς"]
    vocabulary = sorted({word for letter in letters for word in f"x{letter.lower()}y".split("\u0307")} | {"y", "xi"})
    vectorizer = CountVectorizer(token_pattern=ONE, vocabulary=vocabulary)
    expected, actual = counted(vectorizer, [f"x{letter}y" for letter in letters])
    wrong = [letters[row] for row in np.flatnonzero((expected != actual).any(axis=1))]
    assert not wrong


def test_there_is_no_capital_behind_the_end() -> None:
    assert not any(unicodedata.category(chr(code)) == "Lu" for code in range(CAPITALS_END, sys.maxunicode + 1))


@pytest.mark.parametrize(
    ("term", "message"),
    [
        pytest.param("οδος", "with a final sigma", id="a final sigma"),
        pytest.param("οδοσ", "with a sigma at its end that is not final", id="one that Python writes of no capitals"),
        pytest.param("i̇x", "with a dotted i", id="a dotted i"),
    ],
)
def test_words_that_graphs_cannot_lower_are_refused_by_name(term: str, message: str) -> None:
    with pytest.raises(Refused, match=f"knows '{term}' {message}"):
        counted(CountVectorizer(token_pattern=r"\S+", vocabulary=[term, "a"]), ["a"])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_without_rows_the_graph_invents_none(pattern: str, lowercase: bool) -> None:
    """onnx/sklearn-onnx converts such a vectorizer; the operators behind it answer one row where there are none."""
    _, session, _ = graph_of(CountVectorizer(token_pattern=pattern, lowercase=lowercase))
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        session.named({"strings": np.empty((0, 1), dtype=object)})
