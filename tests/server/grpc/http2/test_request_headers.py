"""Header blocks: what is remembered must mean what a decoder without memory says, whatever happened to the table."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import example, given
from hypothesis import strategies as st

from fakes import Nobody
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.request_ids import sanitized
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.grpc.base.method_table import TraceOf
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.frames import Code, ConnectionFault
from skylane.server.grpc.http2.request_fields import StreamFault
from skylane.server.grpc.http2.request_headers import (
    ALIKE_BYTES_MAX,
    ALIKE_MAX,
    KNOWN_BYTES_MAX,
    KNOWN_MAX,
    HeaderCache,
    seconds,
)
from skylane.server.grpc.http2.response_headers import field
from support.h2 import HOT, STREAMED, Recorder, fields_of

INBOX = CallBuffer(Recorder(), Nobody())


def made(grant: Grant | None = ANYONE, header_bytes: int = 16_384) -> HeaderCache:
    def grant_of(_: str | None) -> Grant:
        if grant is None:
            raise Unauthenticated("who are you?")
        return grant

    return HeaderCache({HOT: INBOX}.get, (HOT,).__contains__, grant_of, header_bytes)


def made_for_tokens(trace_of: TraceOf | None = None) -> HeaderCache:
    """Whose grants have the names of the tokens."""

    def grant_of(token: str | None) -> Grant:
        return replace(ANYONE, name=token or "")

    return HeaderCache({HOT: INBOX}.get, (HOT,).__contains__, grant_of, 16_384, trace_of)


VARYING = ["grpc-timeout", "traceparent", "x-request-id"]

# Few names and values, so that blocks repeat; some so long that they push others out of a small table.
MORE = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "user-agent", "x" * 40, *VARYING]), st.sampled_from(["1", "2S", "y" * 70, "z" * 200])
    ),
    max_size=4,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("head"), MORE, st.booleans()),
        st.tuples(st.just("table"), st.sampled_from([0, 60, 150, 300, 4096])),
        st.tuples(st.just("trailers"), MORE),
        st.tuples(st.just("again")),
    ),
    max_size=40,
)


def steady(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    """Metadata without what the headers of a batched method may lack."""
    return [field for field in metadata if field[0] not in VARYING]


@given(STEPS)
def test_what_is_remembered_is_what_a_decoder_says(steps: list[tuple[object, ...]]) -> None:
    """The way that Connection uses it: look among the known, decode otherwise."""
    heads, encoder, fresh = made(), Encoder(), Decoder()
    before: object = []
    for step in steps:
        if step[0] == "table":
            assert isinstance(step[1], int)
            if step[1] != encoder.header_table_size:  # hpack forgets to tell of a change made twice
                encoder.header_table_size = step[1]
            continue
        more = before if step[0] == "again" else step[1]
        before = more
        assert isinstance(more, list)
        if step[0] == "trailers":
            block = encoder.encode(more)
            if block:
                fresh.decode(block)
                heads.trailers(block)
            continue
        block = encoder.encode(fields_of(HOT, *more), huffman=bool(step[-1]))
        said = [(str(name), str(value)) for name, value in fresh.decode(block)]
        assert said == fields_of(HOT, *more)
        head = heads.known.get(block) or heads.decode(block)
        assert head.path == HOT
        assert steady(head.metadata) == steady(more)
        timeouts = [value for name, value in more if name == "grpc-timeout"]
        ids = [value for name, value in more if name == "x-request-id"]
        assert head.timeout_s == seconds(timeouts[-1] if timeouts else None)
        assert head.request_id == (sanitized(ids[0]) if ids else "")


def kept(name: str, value: str) -> HeaderTuple:
    """A field that the client puts into the table."""
    return HeaderTuple(name, value)


def plain(name: str, value: str) -> HeaderTuple:
    """One that it does not."""
    return NeverIndexedHeaderTuple(name, value)


ANY_FIELDS = st.lists(
    st.builds(
        lambda made_of, name, value: made_of(name, value),
        st.sampled_from([kept, plain]),
        st.sampled_from(["a", "authorization", "tracestate", *VARYING]),
        st.sampled_from(["1", "2S", "café", "y" * 126, "z" * 127]),
    ),
    max_size=4,
)
"""Some go into the table and some not, and some are no text."""


@given(st.lists(ANY_FIELDS, min_size=1, max_size=3), st.lists(st.integers(0, 2), min_size=6, max_size=30))
@example([[kept("x-request-id", "1"), plain("traceparent", "1")]], [0] * 6)
@example([[kept("traceparent", "1"), plain("x-request-id", "1")]], [0] * 6)
@example([[plain("traceparent", "1"), plain("tracestate", "z" * 127)]], [0] * 6)
@example(
    [
        [kept("authorization", "1")],
        [kept("authorization", "2S"), plain("a", "café")],
        [kept("authorization", "2S")],
    ],
    [0, 0, 0, 1, 2, 2],
)  # fmt: skip
def test_memory_changes_nothing_whatever_came_before(requests: list[list[HeaderTuple]], order: list[int]) -> None:
    """Beside a decoder that forgets all that it learned: who may do what, until when, and under which names."""

    def decoded(heads: HeaderCache, block: bytes) -> object:
        try:
            head = heads.known.get(block) or heads.decode(block)
        except StreamFault as fault:
            return str(fault)
        trace = [each for each in head.trace if each[0] in ("tracestate", *VARYING) and each[0] != "grpc-timeout"]
        return head.path, head.timeout_s, head.grant, head.request_id, trace

    learning, forgetting = made_for_tokens(tuple), made_for_tokens(tuple)
    encoder, start = Encoder(), [plain(*each) for each in fields_of(HOT)]
    for step, number in enumerate(order):
        more = requests[number % len(requests)]
        said = [each if each.indexable else plain(str(each[0]), str(step % 5) + str(each[1])) for each in more]
        block = encoder.encode([*start, *said], huffman=False)
        forgetting.forget()
        assert decoded(learning, block) == decoded(forgetting, block)


def test_a_request_that_is_no_good_changes_the_table_all_the_same() -> None:
    """Else the one behind it would be taken for one that came before, and for its caller."""
    heads, encoder = made_for_tokens(), Encoder()
    start = [plain(*each) for each in fields_of(HOT)]

    def block(token: str, *more: HeaderTuple) -> bytes:
        return encoder.encode([*start, kept("authorization", token), *more], huffman=False)

    for _ in range(3):
        heads.decode(block("alice"))
    with pytest.raises(StreamFault):
        heads.decode(block("bob", plain("x-name", "café")))
    again = block("bob")
    assert (heads.known.get(again) or heads.decode(again)).grant.name == "bob"


def test_a_block_is_known_from_its_second_time_on() -> None:
    heads, encoder = made(), Encoder()
    blocks = [encoder.encode(fields_of()) for _ in range(3)]
    heads.decode(blocks[0])
    assert not heads.known, "its numbers are not what they were"
    head = heads.decode(blocks[1])
    assert heads.known == {blocks[2]: head}


def test_a_block_with_a_content_length_is_remembered_with_it() -> None:
    """Load generators send one with every request."""
    heads, encoder = made(), Encoder()
    first, again, third = (encoder.encode(fields_of(HOT, ("content-length", "7"))) for _ in range(3))
    heads.decode(first)
    head = heads.decode(again)
    assert heads.known == {third: head}
    assert (head.may_have(7), head.may_have(6)) == (True, False)


def test_a_value_that_is_another_each_time_is_all_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a client that puts it into the table."""
    heads, encoder = made(), Encoder()
    heads.decode(encoder.encode(fields_of(HOT, ("grpc-timeout", "1S"), ("x-request-id", "first"))))
    monkeypatch.setattr("skylane.server.grpc.http2.request_headers.sort", None)
    head = heads.decode(encoder.encode(fields_of(HOT, ("grpc-timeout", "999u"), ("x-request-id", "second"))))
    assert (head.path, head.request_id) == (HOT, "second")
    assert head.timeout_s == pytest.approx(999e-6)


def test_heads_that_are_alike_have_a_bound() -> None:
    heads, encoder = made(), Encoder()
    for number in range(3 * ALIKE_MAX):
        heads.decode(encoder.encode(fields_of(HOT, ("a", f"{number}"))))
        assert len(heads._alike) <= ALIKE_MAX
    for number in range(100):
        heads.decode(encoder.encode(fields_of(HOT, ("a", f"{number}" + "x" * 8000)), huffman=False))
        kept = sum(len(name) + len(value) for alike in heads._alike for name, value in alike)
        assert kept <= ALIKE_BYTES_MAX + 8200


def test_the_known_have_a_bound_in_number_and_bytes() -> None:
    heads, encoder = made(), Encoder()
    encoder.header_table_size = 0
    for number in range(2 * KNOWN_MAX):
        heads.decode(encoder.encode(fields_of(HOT, ("a", str(number)))))
        assert len(heads.known) <= KNOWN_MAX
    for number in range(50):
        heads.decode(encoder.encode(fields_of(HOT, ("a", f"{number}" + "x" * 8000)), huffman=False))
        kept = sum(len(block) + sum(len(value) for _, value in head.metadata) for block, head in heads.known.items())
        assert kept <= KNOWN_BYTES_MAX


def test_a_refusal_is_not_remembered() -> None:
    heads, encoder = made(grant=None), Encoder()
    for _ in range(3):
        assert heads.decode(encoder.encode(fields_of())).refusal is not None
    assert not heads.known


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param([f for f in fields_of() if f[0] != ":path"], "without", id="no path"),
        pytest.param([f for f in fields_of() if f[0] != ":method"], "without", id="no method"),
        pytest.param([f for f in fields_of() if f[0] != ":scheme"], "without", id="no scheme"),
        pytest.param([*fields_of(), (":path", "/")], "after other fields", id="a pseudo-header at the end"),
        pytest.param([(":path", "/"), *fields_of()], "twice", id="a pseudo-header twice"),
        pytest.param([("grpc-timeout", "1S"), *fields_of()], "after other fields", id="a timeout at the beginning"),
        pytest.param(
            [*fields_of()[:2], ("traceparent", "1"), *fields_of()[2:]], "after other", id="a trace in between"
        ),
        pytest.param([*fields_of(), ("x-request-id", "\n")], "printable ASCII", id="an id that is no text"),
        pytest.param([*fields_of(), ("Upper", "x")], "lower case", id="a name in upper case"),
        pytest.param([*fields_of(), ("a b", "x")], "lower case", id="a name with a space"),
        pytest.param([*fields_of(), ("", "x")], "lower case", id="no name"),
        pytest.param([*fields_of(), ("a", "\r\nb: c")], "printable ASCII", id="a value with a line's end"),
        pytest.param([*fields_of(), ("a", "ü")], "printable ASCII", id="a value that is not ASCII"),
        pytest.param([*fields_of(), ("a-bin", "!")], "base64", id="bytes that are not base64"),
    ],
)
@pytest.mark.parametrize("table", [pytest.param(0, id="no table"), pytest.param(4096, id="a table")])
def test_a_malformed_request_costs_its_stream(fields: list[tuple[str, str]], says: str, table: int) -> None:
    """Also beside one that is right, and as often as it is sent."""
    heads, encoder = made(), Encoder()
    encoder.header_table_size = table
    for _ in range(3):
        heads.decode(encoder.encode(fields_of()))
        with pytest.raises(StreamFault, match=says):
            heads.decode(encoder.encode(fields))


@pytest.mark.parametrize(
    ("content_type", "is_taken"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc-web", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_content_types(content_type: str, is_taken: bool) -> None:
    fields = [(name, content_type if name == "content-type" else value) for name, value in fields_of()]
    refusal = made().decode(Encoder().encode(fields)).refusal
    assert (refusal is None) is is_taken
    assert is_taken or b"415" in (refusal or b"")


@pytest.mark.parametrize(
    ("block", "code"),
    [
        pytest.param(b"\xff\xff\xff\xff\x7f", Code.COMPRESSION_ERROR, id="an entry that the table does not have"),
        pytest.param(b"\x40\x05ab", Code.COMPRESSION_ERROR, id="a text that is cut off"),
        pytest.param(b"\x3f\xff\xff\x03", Code.COMPRESSION_ERROR, id="a table larger than we allow"),
        pytest.param(b"\x88\x20", Code.COMPRESSION_ERROR, id="a table's size after a field"),
        pytest.param(field("a", bytes(65_600)), Code.ENHANCE_YOUR_CALM, id="one field that is too long"),
        pytest.param(b"\x40" + field("a", b"x" * 4000)[1:] + b"\xbe" * 20, Code.ENHANCE_YOUR_CALM, id="a bomb"),
    ],
)
def test_a_lost_table_costs_the_connection(block: bytes, code: Code) -> None:
    with pytest.raises(ConnectionFault) as caught:
        made().decode(block)
    assert caught.value.code is code


@given(st.integers(1, 40_000))
def test_metadata_over_the_limit_is_refused_alone_and_the_table_stays(over: int) -> None:
    heads, encoder = made(), Encoder()
    first = heads.decode(encoder.encode(fields_of(HOT, ("a", "kept in the table"))))
    large = heads.decode(encoder.encode(fields_of(HOT, ("large", "x" * (16_384 + over)))))
    assert large.refusal is not None
    assert b"this server takes at most 16384" in large.refusal
    assert heads.decode(encoder.encode(fields_of(HOT, ("a", "kept in the table")))).metadata == first.metadata


def test_metadata_in_bytes() -> None:
    fields = fields_of(STREAMED, ("a-bin", "AAE"), ("b-bin", "AAE=,Ag=="), ("c", "text"))
    head = made().decode(Encoder().encode(fields))
    assert head.metadata == (("a-bin", b"\0\1"), ("b-bin", b"\0\1"), ("b-bin", b"\2"), ("c", "text"))


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("3S", 3.0),
        ("250m", 0.25),
        ("5u", 5e-6),
        ("99999999n", 0.099999999),
        ("0S", 0.0),
        (None, math.inf),
        ("", math.inf),
        ("5", math.inf),
        ("S", math.inf),
        ("-1S", math.inf),
        ("1.5S", math.inf),
        ("5X", math.inf),
        ("²S", math.inf),
        pytest.param("123456789S", math.inf, id="more than eight digits"),
        pytest.param("8784H", 366 * 86_400.0, id="a leap year"),
        pytest.param("8785H", math.inf, id="an hour more"),
        pytest.param("2562047H", math.inf, id="the most that Java and Go can count in nanoseconds"),
        pytest.param("99999999H", math.inf, id="the most that the wire can say"),
    ],
)
def test_seconds(timeout: str | None, expected: float) -> None:
    assert seconds(timeout) == pytest.approx(expected)
