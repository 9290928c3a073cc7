"""Names of element types."""

from typing import Any

import numpy as np
import pytest

from skylane.dtypes import DTYPES, FROM_PROTO, NUMPY, TO_PROTO, dtype_of
from skylane.v1.prediction_pb2 import DataType


def test_every_type_of_the_contract_has_one_name_and_back() -> None:
    assert set(TO_PROTO) == set(NUMPY) == set(DTYPES)
    assert set(FROM_PROTO) == set(DataType.values()) - {0}
    assert all(FROM_PROTO[TO_PROTO[name]] == name for name in DTYPES)


def test_elements_lie_in_memory_as_on_the_wire() -> None:
    assert all(dtype.newbyteorder("<") == dtype for dtype in NUMPY.values())
    assert all(dtype_of(np.zeros(1, dtype)) == name for name, dtype in NUMPY.items())


@pytest.mark.parametrize(
    ("array", "name"),
    [
        pytest.param(np.array([1], ">f4"), "float32", id="big-endian"),
        pytest.param(np.array(["a"]), "string", id="fixed-width text"),
        pytest.param(np.array([b"a"]), "string", id="bytes"),
        pytest.param(np.array(["a"], np.dtypes.StringDType()), "string", id="variable text"),
        pytest.param(np.array([None]), "string", id="objects"),
    ],
)
def test_names(array: Any, name: str) -> None:
    assert dtype_of(array) == name


@pytest.mark.parametrize("array", [np.array([1j]), np.array(["2013-01-01"], "M8[D]"), np.zeros(1, "V4")])
def test_types_that_no_tensor_has(array: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent: expected one of bool, uint8"):
        dtype_of(array)
