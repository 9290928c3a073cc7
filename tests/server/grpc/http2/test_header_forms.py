"""Blocks that differ in a few values: what is cut out of them is what a decoder says."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from fakes import Nobody
from skylane.server.core.request_ids import LENGTH_MAX
from skylane.server.core.token_scope import ANYONE
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.header_forms import VALUE_BYTES_MAX, VARYING, header_template_of
from skylane.server.grpc.http2.request_fields import Metadata, StreamFault
from skylane.server.grpc.http2.request_headers import FORMS_MAX, HeaderCache
from skylane.server.grpc.http2.response_headers import field
from support.h2 import HOT, Recorder, fields_of

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KNOWN = b"\x88\x83"  # two fields of the static table


def heads() -> HeaderCache:
    """HeaderCache whose trace is all the metadata that they are shown."""
    return HeaderCache(
        {HOT: CallBuffer(Recorder(), Nobody())}.get, (HOT,).__contains__, lambda _: ANYONE, 16_384, trace_of=tuple
    )


@pytest.mark.parametrize(
    ("block", "varying", "found"),
    [
        pytest.param(KNOWN + field("traceparent", PARENT), 1, ["traceparent"], id="gRPC's C core"),
        pytest.param(
            field("traceparent", PARENT) + KNOWN + field("x-request-id", b"7") + field("tracestate", b"a=b"),
            3,
            ["traceparent", "x-request-id", "tracestate"],
            id="anywhere, and several",
        ),
        pytest.param(KNOWN + field("traceparent", PARENT), 2, [], id="another is a number of the table"),
        pytest.param(b"\x10" + field("traceparent", PARENT)[1:], 1, ["traceparent"], id="never to be indexed"),
        pytest.param(field("traceparent", b""), 1, ["traceparent"], id="no value"),
        pytest.param(field("traceparent", bytes(VALUE_BYTES_MAX)), 1, ["traceparent"], id="the longest value"),
        pytest.param(
            field("traceparent", bytes(VALUE_BYTES_MAX + 1)), 1, [], id="a value whose length takes two bytes"
        ),
        pytest.param(b"\x40" + field("traceparent", PARENT)[1:], 1, [], id="goes into the table"),
        pytest.param(b"\x20" + field("traceparent", PARENT), 1, [], id="changes the table's size"),
        pytest.param(KNOWN + field("user-agent", PARENT), 0, [], id="another name"),
        pytest.param(field("a", b"x" + field("traceparent", PARENT)), 0, [], id="inside of another value"),
        pytest.param(Encoder().encode([("traceparent", PARENT)], huffman=True), 1, [], id="in Huffman's code"),
        pytest.param(b"\x00\xff", 0, [], id="no block at all"),
    ],
)
def test_what_varies(block: bytes, varying: int, found: list[str]) -> None:
    form = header_template_of(block, varying)
    assert (list(form.names) if form else []) == found


VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=130)
NAMES = st.sampled_from([*(name.decode() for name in VARYING), "a", "user-agent"])


@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=4), min_size=1, max_size=8), st.booleans())
def test_a_block_means_what_a_decoder_says_whether_its_form_is_known_or_not(
    requests: list[list[tuple[str, str]]], huffman: bool
) -> None:
    mine, encoder, fresh = heads(), Encoder(), Decoder()
    for more in [*requests, *requests]:
        plain = b"".join(field(name, value.encode()) for name, value in more)
        block = encoder.encode(fields_of(), huffman=huffman) + plain
        said: list[tuple[str, str]] = [(str(name), str(value)) for name, value in fresh.decode(block)]
        told = said[len(fields_of()) :]
        head = mine.decode(block)
        assert head.path == HOT
        shown = [each for each in told if each[0].encode() in VARYING]
        assert [each for each in head.trace or () if each[0].encode() in VARYING] == shown


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_are_of_a_form_but_those_with_other_values(cut: bytes, put: bytes) -> None:
    block = KNOWN + field("traceparent", PARENT) + field("a", b"b")
    form = header_template_of(block, 1)
    assert form is not None
    other = KNOWN + field("traceparent", put) + field("a", b"b")
    assert form.values(other) == [put]
    assert form.values(cut) is None
    for end in range(len(block)):
        assert form.values(block[:end]) is None
    assert form.values(block + b"\x88") is None


def test_a_value_that_grpc_does_not_allow_costs_the_stream_though_its_form_is_known() -> None:
    mine, fixed = heads(), Encoder().encode([])
    encoder = Encoder()
    encoder.header_table_size = 0
    for value in (PARENT, PARENT, b"\x00", b"\xff"):
        block = fixed + encoder.encode(fields_of()) + field("traceparent", value)
        if value is PARENT:
            assert mine.decode(block).trace == (("traceparent", PARENT.decode()),)
        else:
            with pytest.raises(StreamFault, match="printable"):
                mine.decode(block)


def test_requests_with_a_known_form_are_not_kept_and_forms_have_a_bound() -> None:
    mine, encoder = heads(), Encoder()
    for _ in range(3):
        block = encoder.encode(fields_of())
        mine.decode(block)
    before = len(mine.known)
    for number in range(1000):
        mine.decode(block + field("x-request-id", b"%d" % number))
    assert len(mine.known) == before + 1
    for number in range(3 * FORMS_MAX):
        mine.decode(block + field("a", b"%d" % number) + field("x-request-id", b"1"))
        assert len(mine.known) <= before + 1 + FORMS_MAX


def test_without_a_tracer_nothing_is_made_of_a_request_whose_form_is_known() -> None:
    def never(_: Metadata) -> None:
        return None

    for trace_of in (None, never):
        mine = HeaderCache(
            {HOT: CallBuffer(Recorder(), Nobody())}.get, (HOT,).__contains__, lambda _: ANYONE, 16_384, trace_of
        )
        encoder = Encoder()
        for _ in range(3):
            block = encoder.encode(fields_of())
            mine.decode(block)
        first, *later = [mine.decode(block + field("traceparent", b"%d" % number)) for number in range(3)]
        assert later[0] is later[1]
        assert first.trace is later[0].trace is None


def test_an_id_is_that_of_its_own_request_and_safe_to_tell() -> None:
    mine, encoder = heads(), Encoder()
    for _ in range(3):
        block = encoder.encode(fields_of())
        mine.decode(block)
    for sent, told in ((b"a-1", "a-1"), (b"b", "b"), (b'x" \\y', "xy"), (b"", ""), (b"l" * 1000, "l" * LENGTH_MAX)):
        assert mine.decode(block + field("x-request-id", sent)).request_id == told
    assert mine.decode(block).request_id == ""
