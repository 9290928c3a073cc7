"""Messages of gRPC from pieces: any pieces, compressed or not, never more than the limit."""

import gzip
import zlib
from itertools import pairwise

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.grpc.http2.messages import PIECE_BYTES, Assembler, MessageFault, message_too_large
from support.h2 import message

BYTES_MAX = 1000


def assembler(encoding: str = "identity", bytes_max: int = BYTES_MAX) -> Assembler:
    return Assembler(encoding, bytes_max, message_too_large)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


CONTENTS = st.one_of(st.binary(max_size=60), st.binary(min_size=PIECE_BYTES - 1, max_size=PIECE_BYTES + 1))
"""Small ones, and those that are kept as they came."""


@given(st.lists(CONTENTS, max_size=8), st.lists(st.integers(0, 10_000), max_size=30), st.binary(max_size=4))
def test_any_pieces_give_the_same_messages(contents: list[bytes], cuts: list[int], rest: bytes) -> None:
    assembling = assembler(bytes_max=2 * PIECE_BYTES)
    data = b"".join(map(message, contents)) + rest
    found = [whole for piece in pieces_of(data, cuts) for whole in assembling.feed(piece)]
    assert found == contents
    assert assembling.held == len(rest)


def test_what_is_missing_is_known_from_the_prefix_on() -> None:
    assembling = assembler()
    assert assembling.missing == 0
    for piece, missing in [(b"\0", 4), (b"\0\0\0", 1), (b"\x0a", 10), (b"123456789", 1), (b"0", 0)]:
        list(assembling.feed(piece))
        assert assembling.missing == missing


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [pytest.param("gzip", gzip.compress, id="gzip"), pytest.param("deflate", zlib.compress, id="deflate")],
)
@given(content=st.binary(max_size=BYTES_MAX))
def test_compressed_messages_are_unpacked(encoding: str, pack: object, content: bytes) -> None:
    assert callable(pack)
    assert list(assembler(encoding).feed(message(pack(content), 1) + message(b"plain"))) == [content, b"plain"]


@pytest.mark.parametrize(
    ("encoding", "data", "code", "says"),
    [
        pytest.param(
            "identity", message(bytes(1001))[:5], StatusCode.RESOURCE_EXHAUSTED, "1001 bytes",
            id="too large: refused at its prefix, before any of it is kept",
        ),
        pytest.param(
            "identity", b"\0\xff\xff\xff\xff", StatusCode.RESOURCE_EXHAUSTED, "4294967295 bytes",
            id="as large as a prefix can say",
        ),
        pytest.param(
            "gzip", message(gzip.compress(bytes(10**5)), 1), StatusCode.RESOURCE_EXHAUSTED, "1001 bytes",
            id="a bomb is unpacked one byte beyond the limit",
        ),
        pytest.param(
            "gzip", message(gzip.compress(b"content")[:-4], 1), StatusCode.INTERNAL, "ends too early", id="cut off",
        ),
        pytest.param("gzip", message(b"", 1), StatusCode.INTERNAL, "ends too early", id="compressed, but empty"),
        pytest.param("gzip", message(b"content", 1), StatusCode.INTERNAL, "is not gzip", id="not what it says"),
        pytest.param(
            "gzip", message(gzip.compress(b"content") + b"123", 1), StatusCode.INTERNAL, "goes on for 3 bytes",
            id="something after the end",
        ),
        pytest.param(
            "gzip", message(gzip.compress(b"one") + gzip.compress(b"two"), 1), StatusCode.INTERNAL, "goes on for",
            id="a second one after the first",
        ),
        pytest.param(
            "gzip", message(zlib.compress(b"content"), 1), StatusCode.INTERNAL, "is not gzip", id="deflate called gzip",
        ),
        pytest.param(
            "identity", message(b"content", 1), StatusCode.INTERNAL, "no grpc-encoding says how",
            id="compressed, but nobody said how",
        ),
        pytest.param(
            "br", message(b"content", 1), StatusCode.UNIMPLEMENTED, "expected identity, gzip or deflate, received 'br'",
            id="compressed in a way that we do not know",
        ),
        pytest.param(
            "gzip", message(b"content", 2), StatusCode.INTERNAL, "begins with the byte 2; expected 0, or 1",
            id="a first byte that means nothing",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(encoding: str, data: bytes, code: StatusCode, says: str) -> None:
    with pytest.raises(MessageFault) as caught:
        list(assembler(encoding).feed(data))
    assert caught.value.status.code is code
    assert says in caught.value.status.message


def test_an_encoding_that_no_message_uses_is_no_fault() -> None:
    assert list(assembler("br").feed(message(b"plain"))) == [b"plain"]
