"""JSON is read as msgspec reads it, whatever its size, and with Python's tokens."""

import gc
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.core.errors import BadRequest
from skylane.server.http.json_text import LARGE_BYTES, TOKENS_VALUES_MAX, decode_any

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(JSON, st.sampled_from([0, LARGE_BYTES]))
def test_any_json_is_read_alike_in_one_piece_and_in_parts(values: Any, padding: int) -> None:
    text = b" " * padding + msgspec.json.encode(values)
    assert decode_any(text) == msgspec.json.decode(text)
    assert gc.isenabled()


@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[", id="half a list"),
        pytest.param(b"[[1],[2]", id="half a list of lists"),
        pytest.param(b'{"rows":[[1],[2}]}', id="a brace for a bracket"),
        pytest.param(b"[[1],[2]]]", id="a bracket too many"),
        pytest.param(b"{[1]}", id="no name"),
        pytest.param(b"[[1],[nan]]", id="a token that nobody writes"),
        pytest.param(b'[["\xff"]]', id="bytes that are no text"),
        pytest.param(b"[" * 100_000, id="lists without end"),
        pytest.param(b"[NaN", id="half a list with a token"),
        pytest.param(b"[NaN,]", id="a comma too many with a token"),
        pytest.param(b'[NaN,"\\ud800"]', id="half a pair of surrogates with a token"),
        pytest.param(b"[NaN," + b"9" * 5000 + b"]", id="a number of too many digits with a token"),
        pytest.param(b"[NaN" + b",0" * (TOKENS_VALUES_MAX + 1) + b"]", id="more values than a token may be among"),
    ],
)
def test_what_is_no_json(text: bytes, padding: int) -> None:
    with pytest.raises(BadRequest, match=r"^the body is not JSON: "):
        decode_any(b" " * padding + text)
    assert gc.isenabled()


@given(st.lists(st.floats()))
def test_all_floats_survive_pythons_own_json(floats: list[float]) -> None:
    found = decode_any(json.dumps(floats).encode())
    assert [x if x == x else None for x in found] == [x if x == x else None for x in floats]


def test_tokens_within_strings_are_text() -> None:
    assert decode_any(b'["NaN", "Infinity"]') == ["NaN", "Infinity"]
    text, number = decode_any(b'["NaN", NaN]')
    assert text == "NaN"
    assert math.isnan(number)
