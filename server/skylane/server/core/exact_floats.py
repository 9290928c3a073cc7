"""Integers beside missing values: such a column is one of floats, which cannot hold every integer. Pure."""

from typing import Final

import numpy as np

from skylane.server.core.errors import InputMismatch
from skylane.server.core.types import Array

INT64_END: Final = 2.0**63


def exact_floats(name: str, integers: Array) -> Array:
    """The integers as float64. Raises InputMismatch for the first that would become another.

    `name`: of the column, as it stands in the error.
    """
    floats = integers.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of integers that round to 2**63
        changed = floats.astype(integers.dtype) != integers
    if integers.dtype.kind == "i":
        changed |= floats >= INT64_END
    if changed.any():
        value = int(integers[changed.argmax()])
        raise InputMismatch(
            f"column {name}: {value} cannot be kept exactly beside missing values, because a column with missing "
            "values holds floats: send it without missing values, or as text if the model takes text"
        )
    return floats
