"""Templates of header blocks that differ only in fields with a new value in every request: trace contexts, request ids.

A client that traces sends a new `traceparent` each time, so no two of its blocks are equal, and decoding one takes
longer than the rest of a small request: 17 µs, where this takes 2, timed in a loop. gRPC's C core, which Python, C++,
Ruby and PHP share, sends such fields as literals that are not added to the table. So the bytes around their values
are kept, and a block with the same bytes there has the same fields with other values. Pure.
"""

from collections.abc import Sequence
from typing import Final

from hpack import HPACKError
from hpack.hpack import decode_integer

from skylane.server.core import request_ids

VARYING: Final = frozenset((b"traceparent", b"tracestate", request_ids.FIELD.encode()))

VALUE_BYTES_MAX: Final = 0x7E
"""Longer values need more than one byte for their length; then the block is decoded. So is one with a Huffman-coded
value, whose flag makes that byte larger."""


PIECE_BYTES: Final = 128
"""Memory for a piece and a name, in addition to their own bytes."""
NAMES_MAX: Final = 8
"""Varying fields of a template: each takes time for every block that is compared."""


class HeaderTemplate:
    """One block without the values of its varying fields."""

    __slots__ = ("_end", "_pieces", "has_id", "names", "size")

    def __init__(self, pieces: Sequence[bytes], names: Sequence[str]) -> None:
        """`pieces`: the bytes before, between and after the values and their lengths: one more than names."""
        *self._pieces, self._end = pieces
        self.names = tuple(names)
        self.has_id = request_ids.FIELD in names
        """Whether one of the fields is the request's id."""
        self.size = sum(len(piece) + PIECE_BYTES for piece in pieces)
        """Memory of the template."""

    def values(self, block: bytes) -> list[bytes] | None:
        """The values in a block of this form, in the order of `names`; None if it has another form."""
        at, values = 0, list[bytes]()
        for piece in self._pieces:
            if not block.startswith(piece, at):
                return None
            at += len(piece)
            start, size = at + 1, block[at] if at < len(block) else VALUE_BYTES_MAX + 1
            at = start + size
            if size > VALUE_BYTES_MAX or at > len(block):
                return None
            values.append(block[start:at])
        return values if block[at:] == self._end else None


def header_template_of(block: bytes, varying: int) -> HeaderTemplate | None:
    """The template of a block that has been decoded without changing the table, with so many varying fields; None if
    there are none, or not all of them can be sliced out."""
    pieces, names = list[bytes](), list[str]()
    at = begun = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:  # a field of the table
                at += decode_integer(block[at:], 7)[1]
                continue
            if first & 0xE0 == 0x20:  # the size of the table
                return None
            index, length = decode_integer(block[at:], 6 if first & 0x40 else 4)
            at += length
            name = b""
            if not index:
                name, at = _string(block, at)
            start = at
            _, at = _string(block, at)
            if name in VARYING and block[start] <= VALUE_BYTES_MAX and not first & 0x40:
                pieces.append(block[begun:start])
                names.append(name.decode())
                begun = at
    except HPACKError:  # the block was decoded, so this should not happen; checked all the same
        return None
    # A varying field within a piece, because its name is an index or its value is long, would keep its old value.
    return HeaderTemplate([*pieces, block[begun:]], names) if 0 < len(names) == varying <= NAMES_MAX else None


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string literal, not Huffman-decoded, and where it ends."""
    size, length = decode_integer(block[at:], 7)
    start = at + length
    return block[start : start + size], start + size
