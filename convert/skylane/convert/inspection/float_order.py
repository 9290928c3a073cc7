"""Maps the numbers that a column can hold to integers such that neighbours differ by 1, for bisection. Pure."""

from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import Array

Lattice = Literal["whole", "float32", "float64"]
"""The numbers that a column can hold: float64, float32 or integers; none between them can reach a threshold."""

BITS: Final[dict[str, type[np.int32] | type[np.int64]]] = {"float32": np.int32, "float64": np.int64}


def lattice_of(values: "pd.Series[Any]") -> Lattice | None:
    """The kind of the sample's numbers; None if they cannot be moved: booleans, categories, missing values only."""
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        return None
    present = finite(values)
    present = present[~np.isnan(present)]
    if not len(present):
        return None
    if pd.api.types.is_integer_dtype(values.dtype):
        return "whole"
    with np.errstate(over="ignore"):
        return "float32" if np.array_equal(present.astype(np.float32).astype(np.float64), present) else "float64"


def finite(values: "pd.Series[Any]") -> Array:
    """A copy as float64, with missing values and infinities as NaN."""
    numbers = values.to_numpy(np.float64, na_value=np.nan).copy()
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def keys(values: Array, lattice: Lattice) -> Array:
    """int64 keys in the order of these numbers."""
    if lattice == "whole":
        return values.astype(np.int64)
    bits: Array = values.astype(lattice).view(BITS[lattice])
    return np.asarray(np.where(bits < 0, np.iinfo(BITS[lattice]).min - bits, bits), dtype=np.int64)


def numbers(keys: Array, lattice: Lattice) -> Array:
    """The numbers with these keys, float64."""
    if lattice == "whole":
        return keys.astype(np.float64)
    bits = np.where(keys < 0, np.iinfo(BITS[lattice]).min - keys, keys).astype(BITS[lattice])
    return np.asarray(bits.view(lattice), dtype=np.float64)


def between(low: Array, high: Array) -> Array:
    """The keys half-way between, rounded down. The sum of two keys may not fit into 64 bits."""
    return np.asarray((low & high) + ((low ^ high) >> 1))
