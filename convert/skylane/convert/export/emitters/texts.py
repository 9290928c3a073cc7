"""Text vectorizers: word counts, and tf-idf.

ONNX Runtime's tokenizer uses RE2, whose \\w is ASCII only, so patterns are written with the letters that Python's \\w
matches. skl2onnx splits "Köln" in two, counts bigrams across one-letter words and errs in sublinear counts (measured).
"""

import re
import unicodedata
from functools import cache
from typing import Any, Final

from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.functions import normalized
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits

LETTER: Final = r"[\p{L}\p{N}_]"
"""What Python's \\w is, in RE2."""

ANY: Final = r"[^\s\v\p{Z}\x{1c}-\x{1f}\x{85}]+"
"""What Python's \\S+ is, in RE2."""

DOTTED: Final = "\u0130"
"""The one capital that Python lowers to two characters, "i" and a dot that is no letter: a word ends after the "i"."""

PATTERNS: Final = {
    r"(?u)\b\w\w+\b": LETTER + "{2,}",
    r"\b\w\w+\b": LETTER + "{2,}",
    r"(?u)\b\w+\b": LETTER + "+",
    r"\b\w+\b": LETTER + "+",
    r"(?u)\w+": LETTER + "+",
    r"\w+": LETTER + "+",
    r"(?u)\S+": ANY,
    r"\S+": ANY,
}
"""Token pattern in Python → the pattern that matches the same words in RE2."""

CAPITALS_END: Final = 0x20000
"""From this code point on there is no capital letter."""

BEFORE_LOWERING: Final = {
    LETTER + "{2,}": "{letter}+{dotted}|{letter}{{2,}}",
    LETTER + "+": "{letter}*{dotted}|{letter}+",
    ANY: ANY.replace("{", "{{").replace("}", "}}"),
}
"""The pattern for lowered texts → the pattern for original texts; see `_before_lowering`."""

NOT_LOWERED: Final = {"ς": "a final sigma", "i̇": "a dotted i"}
"""What Python lowers some capitals to; lowering character by character, as graphs do, cannot produce it."""

CAPITAL_END: Final = re.compile(r"[^\W\d_]σ$")
"""A word that Python never makes by lowering, because it writes a final sigma at the end of a word; graphs do not."""


@emits("transform", CountVectorizer)
def counts(vectorizer: Any, features: Features, emission: Emission) -> Features:
    """How often each word or n-gram of the vocabulary occurs."""
    counted = _counted(vectorizer, features, emission)
    return Features.of(_once(counted, emission) if vectorizer.binary else counted)


@emits("transform", TfidfVectorizer)
def weighed_counts(vectorizer: Any, features: Features, emission: Emission) -> Features:
    """Counts times inverse document frequencies, each row divided by its norm."""
    return weighed(vectorizer._tfidf, counts(vectorizer, features, emission), emission)


@emits("transform", TfidfTransformer)
def weighed(transformer: Any, features: Features, emission: Emission) -> Features:
    """Counts times inverse document frequencies, each row divided by its norm."""
    if transformer.sublinear_tf:
        graph, x = emission.graph, emission.tensor(features)
        one = graph.constant(1.0, x.dtype)
        at_least = graph.node("Max", [x, one], x.dtype, x.width)
        log = graph.node("Add", [graph.node("Log", [at_least], x.dtype, x.width), one], x.dtype, x.width)
        features = Features.of(graph.node("Mul", [log, _once(x, emission)], x.dtype, x.width))
    if transformer.use_idf:
        features = features.then("Mul", transformer.idf_)
    return normalized(features, transformer.norm, emission) if transformer.norm else features


def _once(tensor: Tensor, emission: Emission) -> Tensor:
    """1.0 for each word that occurs."""
    one = emission.graph.constant(1.0, tensor.dtype)
    return emission.graph.node("Min", [tensor, one], tensor.dtype, tensor.width)


def _counted(vectorizer: Any, features: Features, emission: Emission) -> Tensor:
    graph, path = emission.graph, emission.graph.path
    pattern = _pattern(vectorizer, path)
    vocabulary = {str(term): int(place) for term, place in vectorizer.vocabulary_.items()}
    words = emission.vector(features)
    if words.dtype != "string":
        raise Refused(f"the step {path} takes text, but gets numbers")
    if vectorizer.lowercase:
        _check_case(vocabulary, path)
    split_first = vectorizer.lowercase and pattern in BEFORE_LOWERING
    # StringNormalizer even where nothing is lowered: without rows it fails, but the operators after it return one row.
    if not split_first:
        words = _lowered(words, emission) if vectorizer.lowercase else _normalized(words, "NONE", emission)
    # Start and end marks: a batch without any word would otherwise have no columns to count.
    domain = "com.microsoft"
    tokens = graph.node(
        "Tokenizer", [words], "string", None, domain=domain, opset=1,
        mark=1, mincharnum=1, pad_value="", tokenexp=_before_lowering(pattern) if split_first else pattern,
    )  # fmt: skip
    if split_first:
        tokens = _lowered_tokens(tokens, words, emission, dotted_words=pattern == ANY)
    lengths = range(vectorizer.ngram_range[0], vectorizer.ngram_range[1] + 1)
    by_length = {length: [term for term in vocabulary if term.count(" ") == length - 1] for length in lengths}
    pool, starts, places = list[str](), list[int](), list[int]()
    for length in range(1, max(lengths) + 1):
        starts.append(len(pool))
        for term in by_length.get(length, ()):
            pool.extend(term.split(" "))
            places.append(vocabulary[term])
    width = len(vocabulary)
    return graph.node(
        "TfIdfVectorizer", [tokens], "float32", width, max_gram_length=max(lengths), min_gram_length=min(lengths),
        max_skip_count=0, mode="TF", ngram_counts=starts, ngram_indexes=places, pool_strings=pool,
    )  # fmt: skip


def _lowered(words: Tensor, emission: Emission) -> Tensor:
    return _normalized(words, "LOWER", emission)


def _lowered_tokens(tokens: Tensor, words: Tensor, emission: Emission, *, dotted_words: bool) -> Tensor:
    """Tokens, (texts, any), lowered as one long row; an empty token is appended, because there may be none at all.

    `dotted_words`: whether a word may hold a dotted capital i.
    """
    graph = emission.graph
    end = graph.constant([-1], "int64")
    flat = graph.node("Reshape", [tokens, end], "string", None)
    longer = graph.node("Concat", [flat, graph.constant([""], "string")], "string", None, axis=0)
    lowered = _lowered(longer, emission)
    if dotted_words:
        # Unlowered, such a word is not in the vocabulary, see _check_case; lowered by the graph, it might be.
        is_dotted = graph.node("RegexFullMatch", [longer], "bool", None, opset=20, pattern=f"(?s).*{DOTTED}.*")
        lowered = graph.node("Where", [is_dotted, longer, lowered], "string", None)
    lowered = graph.node("Slice", [lowered, graph.constant([0], "int64"), end], "string", None)
    rows = graph.node("Concat", [graph.node("Shape", [words], "int64", None), end], "int64", None, axis=0)
    # Two dimensions even without rows: then counting fails, as it should, whereas a vector would count as one text.
    return graph.node("Reshape", [lowered, rows], "string", None, allowzero=1)


def _normalized(words: Tensor, action: str, emission: Emission) -> Tensor:
    return emission.graph.node("StringNormalizer", [words], "string", None, case_change_action=action, locale="C.UTF-8")


def _before_lowering(pattern: str) -> str:
    """A pattern that matches the same words before their capitals are lowered: a word ends after a dotted capital i.

    Lowered first, that letter would be an ordinary "i", and "İstanbul" one word instead of "i" and "stanbul". This
    order takes 1.06 times as long for 64 texts (measured).
    """
    letter = _letters_but_dotted()
    return BEFORE_LOWERING[pattern].format(letter=letter, dotted=r"\x{130}")


@cache
def _letters_but_dotted() -> str:
    """LETTER without the dotted capital i, for RE2, which cannot subtract from a character class.

    Instead of \\p{Lu}, it lists the ranges of letters that contain capitals; the range with that letter is split at it.
    """
    letters = "".join(chr(code) for code in range(CAPITALS_END) if not 0xD800 <= code < 0xE000)
    capitals = {letter for letter in letters if unicodedata.category(letter) == "Lu"}
    runs = [run for match in re.finditer(r"\w+", letters) for run in match[0].split(DOTTED)]
    ranges = [rf"\x{{{ord(run[0]):x}}}-\x{{{ord(run[-1]):x}}}" for run in runs if not capitals.isdisjoint(run)]
    return rf"[\p{{Ll}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{N}}_{''.join(ranges)}]"


def _pattern(vectorizer: Any, path: str) -> str:
    """The token pattern for RE2. Raises Refused for settings that graphs cannot reproduce."""
    for setting, usual, why in (
        ("analyzer", "word", "which joins blanks in a way that graphs do not know"),
        ("strip_accents", None, "which graphs do not know"),
        ("preprocessor", None, "which is code of your own"),
        ("tokenizer", None, "which is code of your own"),
    ):
        value = getattr(vectorizer, setting)
        if value != usual:
            raise Refused(f"the step {path} has {setting}={value!r}, {why}: use {setting}={usual!r}")
    if vectorizer.get_stop_words() and vectorizer.ngram_range[1] > 1:
        raise Refused(f"the step {path} leaves out stop words between others: use ngram_range=(1, 1), or none")
    if vectorizer.token_pattern not in PATTERNS:
        raise Refused(
            f"the step {path} has token_pattern={vectorizer.token_pattern!r}, which may find other words in a graph: "
            f"use one of {', '.join(map(repr, PATTERNS))}"
        )
    if any(" " in term for term in vectorizer.vocabulary_) and vectorizer.ngram_range[1] == 1:
        raise Refused(f"the step {path} has terms with blanks in its vocabulary, but ngram_range=(1, 1)")
    return PATTERNS[vectorizer.token_pattern]


def _check_case(vocabulary: dict[str, int], path: str) -> None:
    for letters, name in NOT_LOWERED.items():
        _refuse_case(next((term for term in vocabulary if letters in term), None), name, path)
    capital_end = (term for term in vocabulary for word in term.split() if CAPITAL_END.search(word))
    _refuse_case(next(capital_end, None), "a sigma at its end that is not final", path)


def _refuse_case(term: str | None, name: str, path: str) -> None:
    if term is not None:
        raise Refused(
            f"the step {path} knows {term!r} with {name}, to which graphs do not lower capitals as Python does: "
            f"lower the texts before the pipeline and set lowercase=False"
        )


@emits("transform", HashingVectorizer)
def hashed(_vectorizer: Any, _features: Features, emission: Emission) -> Features:
    """Always refused: no operator hashes words as scikit-learn does."""
    raise Refused(f"the step {emission.graph.path} hashes words, which graphs cannot: use TfidfVectorizer")
