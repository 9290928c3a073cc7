"""Our HPACK decoder beside the hpack package: the same fields of the same bytes, or both refuse."""

import random
from typing import Final

from hpack import Decoder, Encoder, HPACKError

from skylane.bench.fuzz.target import pure
from skylane.server.grpc.http2.hpack_decoder import Field, HpackDecoder, HpackFault

BYTES_MAX: Final = 1000
"""Of the fields of one block."""
CONNECTIONS: Final = 100
"""In one round; each has tables of its own."""
BLOCKS_MAX: Final = 20

NAMES: Final = (b":method", b":path", b"content-type", b"a", b"grpc-timeout", b"x" * 60, b"")
VALUES: Final = (b"POST", b"/", b"1", b"z" * 90, b"y" * 300, b"999877u", b"\0\xff\xfe", b"")
"""Few, so that they repeat; some are so long that they push others out of the table, or do not fit."""
STATIC_ENTRIES: Final = 61
"""Of the table that every connection begins with; those of its own have the indices after them."""
TABLE_SIZES: Final = (0, 40, 200, 500, 4096)


def play(seed: int) -> int:
    """Many connections. Returns the blocks that were decoded."""
    rng = random.Random(seed)
    return sum(_connection(rng) for _ in range(CONNECTIONS))


def _connection(rng: random.Random) -> int:
    encoder, ours, theirs = Encoder(), HpackDecoder(BYTES_MAX), Decoder(BYTES_MAX)
    for number in range(1, BLOCKS_MAX + 1):
        if rng.random() < 0.1:
            encoder.header_table_size = rng.choice(TABLE_SIZES)
        block = _block(rng, encoder)
        expected = _decoded_by_package(theirs, block)
        try:
            received: list[Field] | None = ours.decode(block)[0]
        except HpackFault:
            received = None
        assert received == expected, f"block {block.hex()}: the package reads {expected}, ours {received}"
        if received is None:  # the connection ends with it
            return number
    return BLOCKS_MAX


def _block(rng: random.Random, encoder: Encoder) -> bytes:
    """What an encoder writes, sometimes with another byte or cut; sometimes any bytes."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(40))
    fields = [
        (rng.choice(NAMES), rng.choice((*VALUES, rng.randbytes(rng.randrange(9)))), rng.random() < 0.2)
        for _ in range(rng.randrange(6))
    ]
    block = bytearray(encoder.encode(fields, rng.random() < 0.5))
    if rng.random() < 0.1:
        block.append(0x80 | _boundary(rng, encoder))
    if block and rng.random() < 0.1:
        block[rng.randrange(len(block))] = rng.randrange(256)
    if block and rng.random() < 0.05:
        del block[rng.randrange(len(block)) :]
    return bytes(block)


def _boundary(rng: random.Random, encoder: Encoder) -> int:
    """The index of the oldest entry of the table, or of the one that was pushed out last, which nobody may name."""
    entries = len(encoder.header_table.dynamic_entries)
    return min(STATIC_ENTRIES + entries + rng.choice((0, 0, 0, 1)), 0x7E)


def _decoded_by_package(decoder: Decoder, block: bytes) -> list[Field] | None:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (HPACKError, IndexError):
        return None


TARGET = pure("hpack", "our HPACK decoder against the hpack package, with damaged blocks", play)
