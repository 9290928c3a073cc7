"""Numbers, numbered."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skylane.convert.inspection.float_order import Lattice, between, keys, lattice_of, numbers


@pytest.mark.parametrize(
    ("values", "lattice"),
    [
        pytest.param(pd.Series([1, 2]), "whole", id="integers"),
        pytest.param(pd.Series([1, None], dtype="Int64"), "whole", id="integers with a gap"),
        pytest.param(pd.Series([0.5, 2.0]), "float32", id="doubles that single precision holds"),
        pytest.param(pd.Series([0.1, np.nan]), "float64", id="doubles that it does not hold"),
        pytest.param(pd.Series([1e300, 2.0]), "float64", id="beyond its range"),
        pytest.param(pd.Series([0.1], dtype="float32"), "float32", id="single precision itself"),
        pytest.param(pd.Series([True, False]), None, id="booleans"),
        pytest.param(pd.Series([1, 2]).astype("category"), None, id="categories"),
        pytest.param(pd.Series(["a"]), None, id="texts"),
        pytest.param(pd.Series([np.nan, np.inf]), None, id="nothing but gaps and infinities"),
    ],
)
def test_lattice_of(values: Any, lattice: Lattice | None) -> None:
    assert lattice_of(values) == lattice


floats = arrays(np.float64, 20, elements=st.floats(allow_nan=False, allow_infinity=False, width=32))


@pytest.mark.parametrize("lattice", ["float32", "float64"])
@given(floats)
def test_law_keys_are_ordered_as_numbers_are_and_lead_back(lattice: Lattice, values: Any) -> None:
    found = keys(values, lattice)
    assert np.array_equal(numbers(found, lattice), values)
    assert np.array_equal(np.argsort(found, kind="stable"), np.argsort(values, kind="stable"))
    assert (numbers(found + 1, lattice) > values).all()


whole = st.integers(-(2**63), 2**63 - 1)


@given(whole, whole)
def test_law_between_is_between(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert between(np.array([low]), np.array([high]))[0] == (low + high) // 2
