"""HPACK: whatever bytes come, our decoder says what the hpack package's says, or refuses with it."""

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.grpc.http2.hpack_decoder import ENTRY_BYTES, Field, HpackDecoder, HpackFault, TooManyFields

BYTES_MAX = 1000

# Few names and values, so that they repeat; some so long that they push others out of the table, or do not fit.
NAMES = st.sampled_from([b":method", b":path", b"content-type", b"a", b"grpc-timeout", b"x" * 60, b""])
VALUES = st.one_of(
    st.sampled_from([b"POST", b"/", b"1", b"z" * 90, b"y" * 300, b"999877u", b"\0\xff\xfe", b""]), st.binary(max_size=9)
)
BLOCKS = st.lists(
    st.tuples(
        st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=6),
        st.booleans(),
        st.sampled_from([None, None, 0, 40, 200, 500, 4096]),
    ),
    max_size=20,
)


def theirs(decoder: Decoder, block: bytes) -> list[Field] | None:
    """What the package says; None if it refuses."""
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (HPACKError, IndexError):
        return None


def ours(decoder: HpackDecoder, block: bytes) -> list[Field] | None:
    try:
        fields, size = decoder.decode(block)
    except HpackFault:
        return None
    assert size == sum(len(name) + len(value) + ENTRY_BYTES for name, value in fields) <= BYTES_MAX
    return fields


@given(BLOCKS)
def test_what_an_encoder_says(blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]]) -> None:
    """With one table from the first block to the last, whose size changes."""
    encoder, mine = Encoder(), HpackDecoder(10**6)
    for said, huffman, table in blocks:
        if table is not None and table != encoder.header_table_size:
            encoder.header_table_size = table
        before = mine.changes
        block = encoder.encode(said, huffman)
        assert mine.decode(block)[0] == [(name, value) for name, value, _ in said]
        if mine.changes == before:
            assert mine.decode(block)[0] == [(name, value) for name, value, _ in said], "it means the same again"


@given(st.lists(st.one_of(st.binary(max_size=40), BLOCKS), max_size=6), st.data())
def test_any_bytes(parts: list[bytes | list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]]], data: st.DataObject) -> None:  # fmt: skip # noqa: E501
    """Also what an encoder has said, with a byte that is another, or cut."""
    mine, reference, encoder = HpackDecoder(BYTES_MAX), Decoder(BYTES_MAX), Encoder()
    for part in parts:
        if isinstance(part, bytes):
            block = part
        else:
            changed = bytearray(b"".join(encoder.encode(said, huffman) for said, huffman, _ in part))
            if changed:
                changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
            block = bytes(changed[: data.draw(st.integers(0, len(changed)))])
        found = ours(mine, block)
        assert found == theirs(reference, block)
        if found is None:
            return


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x80", id="entry 0"),
        pytest.param(b"\xbe", id="an entry of a table that is empty"),
        pytest.param(b"\xff\x80\x80\x80\x80\x80\x80\x00", id="a number of zeros without end"),
        pytest.param(b"\xff" + b"\xff" * 60_000 + b"\x00", id="a number of 60,000 bytes"),
        pytest.param(b"\x40\x01a", id="a name without a value"),
        pytest.param(b"\x00\x01a\x05b", id="a value that is cut off"),
        pytest.param(b"\x00\x01a\x81\x00", id="Huffman's code that ends within a letter"),
        pytest.param(b"\x00\x01a\x84\xff\xff\xff\xff", id="Huffman's code for the end, which may not stand there"),
        pytest.param(b"\x3f\xe2\x1f", id="a table of 4097 bytes"),
        pytest.param(b"\x82\x20", id="a size behind a field"),
    ],
)
def test_what_is_refused(block: bytes) -> None:
    with pytest.raises(HpackFault):
        HpackDecoder(BYTES_MAX).decode(block)


def test_fields_over_the_limit() -> None:
    with pytest.raises(TooManyFields, match="more than 1000 bytes"):
        HpackDecoder(BYTES_MAX).decode(b"\x82" * 30)


def test_the_examples_of_rfc_7541() -> None:
    """Appendix C.6: responses in Huffman's code, with a table of 256 bytes from which entries are pushed out."""
    decoder, fields = HpackDecoder(BYTES_MAX), list[list[Field]]()
    for text in (
        "3fe101"
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
        "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ):  # fmt: skip
        fields.append(decoder.decode(bytes.fromhex(text))[0])
    date, location = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"), (b"location", b"https://www.example.com")
    assert fields[0] == [(b":status", b"302"), (b"cache-control", b"private"), date, location]
    assert fields[1] == [(b":status", b"307"), (b"cache-control", b"private"), date, location]
    assert fields[2] == [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ]
