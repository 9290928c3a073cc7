"""A sample of the distinct values of a column, each with the weight of its rows: the ones with the smallest hashes.

Two samples merge exactly: a value that is among the smallest of all is among the smallest of every part that has it, so
the sample of all rows is that of the parts' samples, in any order. Up to VALUES_MAX distinct values it is complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np

Array = np.ndarray[Any, Any]

VALUES_MAX: Final = 256
TEXTS_MAX: Final = 64

_ALL: Final = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class ValueSample:
    """Distinct finite numbers."""

    values: Array
    """(k,) float64 in single precision, in the order of their hashes."""
    weights: Array
    """(k,) float64: sum of the weights of the rows that have it."""

    @property
    def is_complete(self) -> bool:
        """Whether these are all values there were."""
        return len(self.values) < VALUES_MAX

    def merge(self, other: "ValueSample") -> "ValueSample":
        """The sample of both parts' rows."""
        return _smallest(np.concatenate([self.values, other.values]), np.concatenate([self.weights, other.weights]))


def sample_values(values: Array, weights: Array) -> ValueSample:
    """Of finite numbers, (n,) float64, and the weights of their rows."""
    values = in_single_precision(values)
    hashes, part = _hashes(values), np.ones(len(values), np.bool_)
    bound = _ALL if len(values) <= 16 * VALUES_MAX else np.uint64(2**64 / (len(values) / (8 * VALUES_MAX)))
    while bound < _ALL:
        part = hashes <= bound
        if len(np.unique(hashes[part])) >= VALUES_MAX:
            break
        bound = np.uint64(min(float(bound) * 16, 2.0**64 - 2**11))
        if float(bound) >= 2.0**64 - 2**12:
            part = np.ones(len(values), np.bool_)
            break
    return _smallest(values[part], weights[part])


def in_single_precision(values: Array) -> Array:
    """The numbers as a graph in single precision takes them, so that a value is the same in every journal."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32).astype(np.float64) + 0.0  # -0.0 is 0.0
    return np.where(np.isfinite(single), single, values)


def merge_texts(*parts: Mapping[str, float]) -> dict[str, float]:
    """Texts with the weights of their rows, the TEXTS_MAX with the smallest hashes."""
    total: dict[str, float] = {}
    for part in parts:
        for text, weight in part.items():
            total[text] = total.get(text, 0.0) + weight
    chosen = sorted(total, key=lambda text: (crc32(text.encode("utf-8", "surrogatepass")), text))[:TEXTS_MAX]
    return {text: total[text] for text in chosen}


def _smallest(values: Array, weights: Array) -> ValueSample:
    distinct, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place.reshape(-1), weights, len(distinct))
    order = np.argsort(_hashes(distinct), kind="stable")[:VALUES_MAX]
    return ValueSample(distinct[order], sums[order])


def _hashes(values: Array) -> Array:
    """64 bits of each number, mixed as splitmix64 does."""
    mixed = np.ascontiguousarray(values, np.float64).view(np.uint64).copy()
    with np.errstate(over="ignore"):
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
