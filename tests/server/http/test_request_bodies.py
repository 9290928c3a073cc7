"""Bodies are held against what the model can take before anything is built of them. Work is counted, not timed."""

import contextlib
import gzip
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.dtypes import DType
from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec
from skylane.server.core.errors import MessageTooLarge, Overloaded, ServingError
from skylane.server.core.types import Interface
from skylane.server.http.body_limits import (
    ANYWAY_VALUES,
    CONTAINER_VALUES,
    JSON_BYTES_MAX,
    JSON_VALUES_MAX,
    UNPACKED_BYTES_MAX,
    UNPACKED_FREE_BYTES,
    UNPACKED_RATIO_MAX,
    BodyLimits,
    ValueCount,
    limits_of,
)
from skylane.server.http.json_inference import Inference
from skylane.server.http.json_prediction import Prediction
from skylane.server.http.request_bodies import HELD_UNPACKED_MAX, SLICE_BYTES, Bodies, Body

ROWS: Final = 8192
WIDTH: Final = 10
MESSAGE_BYTES: Final = 64 * 2**20


def interface(*shape: int | None, dtype: DType = "float32", columns: int = 0) -> Interface:
    tensor = TensorSpec(name="features", dtype=dtype, shape=(None, *shape))
    named = tuple(ColumnSpec(name=f"c{i}", tensor="features", index=i, dtype=dtype) for i in range(columns))
    return Interface("m", 1, (tensor,), named, (OutputSpec(name="y", dtype="float32", shape=(None,)),))


LIMITS: Final = limits_of(interface(WIDTH), ROWS)


def bodies() -> Bodies:
    return Bodies(MESSAGE_BYTES, lambda size: MessageTooLarge(f"{size} bytes"))


def read(body: Body, content: bytes, step: int = 65_536) -> bytes:
    for start in range(0, len(content), step):
        for _ in body.feed(content[start : start + step]):
            pass
    return body.whole()


def values_in(found: Any) -> int:
    """Values that a parser builds, as limits count them."""
    if isinstance(found, dict):
        return CONTAINER_VALUES + len(found) + sum(map(values_in, found.values()))
    if isinstance(found, list):
        return CONTAINER_VALUES + len(found) + sum(map(values_in, found))
    return 0


MANY: Final = 2**22
SIBLINGS = [
    pytest.param(b'{"instances":[' + b",".join([b"[]"] * MANY) + b"]}", id="instances: empty rows"),
    pytest.param(b'{"rows":[' + b",".join([b"{}"] * MANY) + b"]}", id="rows: empty objects"),
    pytest.param(b"[" + b",".join([b"0"] * MANY) + b"]", id="a bare list of numbers"),
    pytest.param(b'{"inputs":[' + b",".join([b"[0]"] * MANY) + b"]}", id="inputs by columns: rows of one number"),
    pytest.param(b'{"inputs":[{"name":"features","data":[' + b"0," * MANY + b"0]}]}", id="one data list of /v2"),
    pytest.param(b'{"inputs":[' + b",".join([b"{}"] * MANY) + b"]}", id="many tensors of /v2"),
    pytest.param(b'{"outputs":[' + b",".join([b'{"name":"y"}'] * MANY) + b"]}", id="many outputs of /v2"),
    pytest.param(b"[{" + b",".join(b'"%d":0' % i for i in range(MANY // 4)) + b"}]", id="an object with many keys"),
    pytest.param(b"[[" * MANY, id="lists in one another"),
    pytest.param(b'["' + b'","'.join([b""] * MANY) + b'"]', id="empty strings"),
    pytest.param(b'["' + b",[{" * MANY + b'"]', id="a string that looks like values, too long"),
    pytest.param(b'"' * MANY * 2, id="quotes alone"),
    pytest.param(b'"' + b"\\" * MANY * 2, id="backslashes alone"),
    pytest.param(b" " * MANY * 4, id="white space alone"),
]


@pytest.mark.parametrize("content", SIBLINGS)
@pytest.mark.parametrize("packed", [False, True], ids=["as it is", "gzip"])
def test_no_form_of_body_is_taken_beyond_what_the_model_can_use(content: bytes, packed: bool) -> None:
    sent = gzip.compress(content) if packed else content
    held = bodies()
    with held.room() as room:
        body = Body(held, room, LIMITS, "gzip" if packed else "identity")
        try:
            whole = read(body, sent)
        except MessageTooLarge:
            whole = b""
        assert body.size <= max(UNPACKED_FREE_BYTES, UNPACKED_RATIO_MAX * body.received) + SLICE_BYTES
        assert ValueCount(LIMITS.values_max).exceeds(bytearray(whole), len(whole)) is False
    assert (held.held.held, held.unpacked.held) == (0, 0)


@pytest.mark.parametrize("content", SIBLINGS[:7])
def test_what_is_unpacked_of_a_bomb_is_at_most_what_the_largest_honest_request_has(content: bytes) -> None:
    """Twelve kilobytes that became twelve megabytes and 6.5 s; now they end where the model's rows do."""
    honest = json.dumps({"instances": [[0.0] * WIDTH] * ROWS}).encode()
    held = bodies()
    with held.room() as room:
        assert read(Body(held, room, LIMITS, "gzip"), gzip.compress(honest)) == honest
    with held.room() as room:
        body = Body(held, room, LIMITS, "gzip")
        with pytest.raises(MessageTooLarge):
            read(body, gzip.compress(content))
    assert body.size <= 2 * len(honest)


@pytest.mark.parametrize(
    ("content", "made"),
    [
        pytest.param(json.dumps({"instances": [[0.5] * WIDTH] * ROWS}), Prediction, id="TensorFlow Serving by rows"),
        pytest.param(json.dumps({"inputs": [[0.5] * WIDTH] * ROWS}), Prediction, id="TensorFlow Serving by columns"),
        pytest.param(json.dumps([{"features": [0.5] * WIDTH}] * ROWS), Prediction, id="rows that name the tensor"),
        pytest.param(json.dumps([{f"c{i}": 0.5 for i in range(WIDTH)}] * ROWS, indent=1), Prediction, id="indented"),
        pytest.param(
            json.dumps(
                {"inputs": [{"name": "x", "shape": [ROWS, WIDTH], "datatype": "FP32", "data": [0.5] * WIDTH * ROWS}]}
            ),
            lambda content: Inference(content, None),
            id="Open Inference Protocol",
        ),
    ],
)
def test_as_many_rows_as_the_model_takes_are_read_in_every_form(content: str, made: Any) -> None:
    held = bodies()
    with held.room() as room:
        made(read(Body(held, room, limits_of(interface(WIDTH, columns=WIDTH), ROWS)), content.encode()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a,[{"\\}]:é'),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(alphabet='b,[{"\\'), inner, max_size=4),
)


@given(st.lists(JSON), st.integers(1, 7))
def test_values_are_counted_exactly_whatever_strings_hold_and_wherever_it_is_cut(found: Any, step: int) -> None:
    text = msgspec.json.encode(found)
    exact = values_in(found) - sum(1 for _ in _filled(found))  # n values have n - 1 commas
    enough, too_few, grown = ValueCount(exact), ValueCount(exact - 1), bytearray()
    refused = False
    for start in range(0, len(text), step):
        grown += text[start : start + step]
        assert not enough.exceeds(grown, len(grown))
        refused |= too_few.exceeds(grown, len(grown))
    assert refused or exact == 0


def _filled(found: Any) -> Iterator[Any]:
    if isinstance(found, dict | list):
        if found:
            yield found
        for each in found.values() if isinstance(found, dict) else found:
            yield from _filled(each)


@pytest.mark.parametrize(
    ("shape", "dtype", "rows", "expected"),
    [
        pytest.param((10,), "float32", 10, ANYWAY_VALUES + 20 * (10 + 8), id="a table: values, a list, an object"),
        pytest.param((2, 3), "float32", 10, ANYWAY_VALUES + 20 * (6 + 4 * 4), id="lists in one another"),
        pytest.param((2,), "string", 10, ANYWAY_VALUES + 20 * (2 + 4 * 4), id="strings may be objects with base64"),
        pytest.param((None,), "float32", 10, JSON_VALUES_MAX, id="a size that each request chooses"),
        pytest.param((100_000,), "float32", 8192, JSON_VALUES_MAX, id="more than JSON may ever have"),
    ],
)
def test_limits_of_a_model(shape: tuple[int | None, ...], dtype: DType, rows: int, expected: int) -> None:
    assert limits_of(interface(*shape, dtype=dtype), rows).values_max == expected


WIDE: Final = BodyLimits(2**63, JSON_VALUES_MAX)


@pytest.mark.parametrize(
    ("content", "encoding", "json_size", "message"),
    [
        pytest.param(b" " * (JSON_BYTES_MAX + 1), "identity", None, "over 16777216 bytes as JSON", id="JSON"),
        pytest.param(b" ", "identity", JSON_BYTES_MAX + 1, "16777217 bytes of JSON", id="JSON before binary tensors"),
        pytest.param(
            gzip.compress(bytes(range(256)) * 2**12 + b" " * 2**23),
            "gzip",
            0,
            "more than 100 times its size",
            id="bomb",
        ),
    ],
)
def test_limits_of_every_body(content: bytes, encoding: str, json_size: int | None, message: str) -> None:
    held = bodies()
    with held.room() as room, pytest.raises(MessageTooLarge, match=message):
        read(Body(held, room, WIDE, encoding, json_size), content)


def test_binary_tensors_may_have_as_many_bytes_as_a_message() -> None:
    held = bodies()
    with held.room() as room:
        assert len(read(Body(held, room, WIDE, json_size=0), bytes(MESSAGE_BYTES), 2**20)) == MESSAGE_BYTES


def test_what_all_bodies_are_unpacked_to_is_bounded_together() -> None:
    packed = gzip.compress(bytes(range(251)) * (UNPACKED_BYTES_MAX // 251), 0)
    held = bodies()
    with contextlib.ExitStack() as rooms:
        for _ in range(HELD_UNPACKED_MAX):
            read(Body(held, rooms.enter_context(held.room()), WIDE, "gzip", 0), packed)
        room = rooms.enter_context(held.room())
        with pytest.raises(Overloaded, match="bytes of unpacked requests, at most 67108864 may be"):
            read(Body(held, room, WIDE, "gzip", 0), packed)
    assert held.unpacked.held == 0


def test_others_have_their_turn_while_a_large_body_is_unpacked() -> None:
    held = bodies()
    with held.room() as room:
        body = Body(held, room, WIDE, "gzip", 0)
        turns = sum(1 for _ in body.feed(gzip.compress(bytes(10 * SLICE_BYTES))))
    assert turns == 10


@pytest.mark.parametrize("size", [*range(20), SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 3 * SLICE_BYTES])
def test_unpacked_is_what_was_packed_in_parts_of_any_size(size: int) -> None:
    content = (b"abc" * (size // 3 + 1))[:size]
    for step in (1, 7, 65_536):
        held = bodies()
        with held.room() as room:
            assert read(Body(held, room, WIDE, "gzip", 0), gzip.compress(content), step) == content


def test_binary_strings_are_made_only_as_far_as_their_shape_goes() -> None:
    raw = b"\0\0\0\0" * 1_000_000
    body = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}]}
    head = json.dumps(body).encode()
    with pytest.raises(ServingError, match=r"expected 1 elements for shape .1., received 2"):
        Inference(head + raw, len(head))
    head = head.replace(b"[1]", b"[1000000]")
    with pytest.raises(MessageTooLarge, match="has more strings than the model takes"):
        Inference(head + raw, len(head), 999_999)
