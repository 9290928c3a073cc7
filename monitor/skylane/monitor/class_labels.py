"""Labels as senders write them → classes of a model. Pure.

A label is a class if it is written as the class is. Otherwise numbers are compared as numbers, since pandas writes the
label 1 as 1.0, and where the classes are 0 and 1, true and false stand for them. A label that could be two classes
counts as none.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

NONE: Final = -1
"""In place of a class: there is no label, or it is no class."""
NAMED_MAX: Final = 3
"""Labels that are named to people."""
LABEL_SHOWN: Final = 40
"""Characters of a label that are shown."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?")
_BOOLEANS: Final = {"false": Decimal(0), "true": Decimal(1)}


def places(labels: Any, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Place of each label among the classes; NONE without a label, or for one that is no class."""
    encoded = labels.cast(pa.string())
    encoded = (encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded).dictionary_encode()
    place_of = _Places(classes)
    known = np.array([*(place_of(text) for text in encoded.dictionary.to_pylist()), NONE], np.int64)
    chosen = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(known[chosen], np.int64)


class _Places:
    """The place of one label after another."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._exact = {text: place for place, text in reversed(list(enumerate(classes)))}
        self._booleans = len(classes) == 2 and {_number(text, booleans=True) for text in classes} == {0, 1}
        values = [_number(text, booleans=self._booleans) for text in classes]
        self._numbers = {each: values.index(each) for each in values if each is not None and values.count(each) == 1}

    def __call__(self, text: str) -> int:
        if (place := self._exact.get(text)) is not None:
            return place
        number = _number(text, booleans=self._booleans)
        return NONE if number is None else self._numbers.get(number, NONE)


def _number(text: str, *, booleans: bool) -> Decimal | None:
    """What the text stands for as a number; None for other texts. `booleans`: whether true and false are numbers."""
    if booleans and (boolean := _BOOLEANS.get(text.lower())) is not None:
        return boolean
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def numbers(labels: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Labels of a regressor that are written as numbers; NaN for all others."""
    return np.array([_float(text) for text in labels.cast(pa.string()).to_pylist()], np.float64)


def _float(text: str | None) -> float:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else float("nan")


def words(counts: Mapping[str, int], classes: Sequence[str]) -> str:
    """How many outcomes have labels that cannot be used, and which labels; empty if there are none."""
    if not counts:
        return ""
    total = sum(counts.values())
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{_shown(label)} ({count:,})" for label, count in most[:NAMED_MAX])
    more = f" and {len(most) - NAMED_MAX:,} others" if len(most) > NAMED_MAX else ""
    wrong = "that are no class of the model" if classes else "that are no number"
    outcomes = "1 outcome has a label" if total == 1 else f"{total:,} outcomes have labels"
    if total == 1:
        wrong = wrong.replace("that are", "that is")
    expected = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "") if classes else "a number as value"
    return f"{outcomes} {wrong}: {named}{more}; expected {expected}"


def _shown(label: str) -> str:
    return repr(label if len(label) <= LABEL_SHOWN else f"{label[:LABEL_SHOWN]}…")
