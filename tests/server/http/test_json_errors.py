"""Errors about malformed JSON are worded like the others, and begin with the position."""

from typing import Any

import msgspec
import pytest

from skylane.server.core.errors import InputMismatch
from skylane.server.http.json_errors import reworded
from skylane.server.http.json_values import SLICE_VALUES, read_tensor


class Body(msgspec.Struct):
    """A body with a list of objects."""

    inputs: list[dict[str, int]]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        pytest.param([[1.0], ["a"]], list[list[float | None]], "[1][0]: expected a number or null, received a string"),
        pytest.param([1, 2.5], list[int], "[1]: expected an integer, received a number that is no integer"),
        pytest.param([[1, 2], 3], list[list[float | None]], "[1]: expected a list, received an integer"),
        pytest.param([True, 1], list[bool], "[1]: expected a boolean, received an integer"),
        pytest.param([1, [2]], list[float | None], "[1]: expected a number or null, received a list"),
        pytest.param(["a", 1], list[str], "[1]: expected a string, received an integer"),
        pytest.param([{"a": 1}], list[float | None], "[0]: expected a number or null, received an object"),
        pytest.param([[1], [None]], list[list[int]], "[1][0]: expected an integer, received null"),
        pytest.param(["a", None], list[str], "[1]: expected a string, received null"),
        pytest.param({"inputs": [{"a": "b"}]}, Body, "inputs[0][...]: expected an integer, received a string"),
        pytest.param({}, Body, "expected a field 'inputs'"),
        pytest.param([], Body, "expected an object, received a list"),
    ],
)
def test_what_msgspec_says(value: object, kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, kind)
    assert reworded(str(refused.value)) == text


def test_other_text_stays_as_it_is() -> None:
    assert reworded("JSON is malformed: invalid character (byte 7)") == "JSON is malformed: invalid character (byte 7)"


def test_the_place_in_a_part_of_a_list_is_that_in_the_list() -> None:
    values: list[object] = [1.0] * (SLICE_VALUES + 10)
    values[SLICE_VALUES + 3] = "x"
    expected = rf"^tensor 'x': data\[{SLICE_VALUES + 3}\]: expected a number or null, received a string$"
    with pytest.raises(InputMismatch, match=expected):
        read_tensor("x", "float32", values)
