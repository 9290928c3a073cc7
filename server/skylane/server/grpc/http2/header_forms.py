"""Header blocks that differ only in fields whose value is another in every request: trace contexts and request ids.

A client that traces sends a new `traceparent` each time, so no two of its blocks are equal, and to decode one takes
longer than all else that is done for a small request: 17 µs, where this takes 2, timed in a loop. gRPC's C core, which
Python, C++, Ruby and PHP share, writes such fields as they are and keeps them out of the table. So what stands
around their values is remembered, and a block with the same bytes there can only mean the same with other values. Pure.
"""

from collections.abc import Sequence
from typing import Final

from hpack import HPACKError
from hpack.hpack import decode_integer

from skylane.server.core import request_ids

VARYING: Final = frozenset((b"traceparent", b"tracestate", request_ids.FIELD.encode()))

VALUE_BYTES_MAX: Final = 0x7E
"""Longer ones need more than a byte for their length; then the block is decoded. So it is if Huffman's code is used,
whose bit makes that byte large."""


PIECE_BYTES: Final = 128
"""That it takes to keep a piece and a name, beside their own."""
NAMES_MAX: Final = 8
"""Fields cut out of a block: each takes time, in all blocks that are held against the form."""


class HeaderTemplate:
    """One block but for the values of its varying fields."""

    __slots__ = ("_end", "_pieces", "has_id", "names", "size")

    def __init__(self, pieces: Sequence[bytes], names: Sequence[str]) -> None:
        """`pieces`: what stands before, between and behind the values and their lengths: one more than names."""
        *self._pieces, self._end = pieces
        self.names = tuple(names)
        self.has_id = request_ids.FIELD in names
        """Whether one of them is the request's id."""
        self.size = sum(len(piece) + PIECE_BYTES for piece in pieces)
        """Bytes that it takes to remember it."""

    def values(self, block: bytes) -> list[bytes] | None:
        """The values in a block of this form, in the order of `names`; None if it is of another."""
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
    """The form of a block that was decoded before and left the table as it was, with so many varying fields; None if
    there are none, or not all of them can be cut out."""
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
    except HPACKError:  # it was decoded, so it ends where it should; but nobody needs to rely on that
        return None
    # One that stays within a piece, as its name is a number of the table or its value long, would go unread.
    return HeaderTemplate([*pieces, block[begun:]], names) if 0 < len(names) == varying <= NAMES_MAX else None


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string as it stands there, not unpacked, and where it ends."""
    size, length = decode_integer(block[at:], 7)
    start = at + length
    return block[start : start + size], start + size
