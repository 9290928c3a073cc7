"""Integers beside missing values are kept exactly or refused, on every protocol; never rounded."""

from collections.abc import Callable

import numpy as np
import pytest

from skylane.server.codecs.skylane_v1.inputs import read_columns
from skylane.server.core.errors import InputMismatch
from skylane.server.core.types import Array
from skylane.server.http.json_values import read_column
from skylane.v1.prediction_pb2 import Column, Int64List


def _grpc(values: list[int | None]) -> Array:
    gaps = [place for place, value in enumerate(values) if value is None]
    integers = [2**60 + 1 if value is None else value for value in values]
    column = Column(name="id", ints=Int64List(values=integers), missing=gaps)
    return read_columns([column])["id"]


def _json(values: list[int | None]) -> Array:
    return read_column("id", values)


@pytest.mark.parametrize(
    ("read", "values"),
    [
        pytest.param(read, values, id=f"{protocol}: {what}")
        for protocol, read in (("gRPC", _grpc), ("JSON", _json))
        for what, values in (
            ("small", [1, None, -3]),
            ("as large as all floats are exact", [2**53, None, -(2**53)]),
            ("larger, and a float", [2**53 + 2, None, 2**62]),
            ("none but gaps beside one", [None, 7, None]),
        )
    ],
)
def test_integers_that_are_floats_are_kept(read: Callable[[list[int | None]], Array], values: list[int | None]) -> None:
    found = read(values)
    assert found.dtype == np.float64
    assert [None if np.isnan(value) else int(value) for value in found] == values


@pytest.mark.parametrize("read", [pytest.param(_grpc, id="gRPC"), pytest.param(_json, id="JSON")])
@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 2**63 - 1])
def test_integers_that_are_no_floats_are_refused(read: Callable[[list[int | None]], Array], value: int) -> None:
    message = f"^column 'id': {value} cannot be kept exactly beside missing values"
    with pytest.raises(InputMismatch, match=message):
        read([1, None, value])


@pytest.mark.parametrize("read", [pytest.param(_grpc, id="gRPC"), pytest.param(_json, id="JSON")])
def test_without_missing_values_every_integer_is_kept(read: Callable[[list[int | None]], Array]) -> None:
    assert read([2**53 + 1, 2**63 - 1]).tolist() == [2**53 + 1, 2**63 - 1]
