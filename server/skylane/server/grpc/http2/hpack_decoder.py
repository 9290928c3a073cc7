"""HPACK, RFC 7541: header blocks → fields, with the dynamic table. Pure.

The hpack package does the same and more, but takes 40 µs for the nine fields of a gRPC request, where this takes 5,
timed side by side. gRPC in Go, Java and Rust puts timeouts into the table, so that no two blocks are equal and each
request is decoded. The Huffman code and the static table are those of the package.
"""

from collections import deque
from typing import Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

ENTRY_BYTES: Final = 32
"""Size of an entry in addition to its bytes: section 4.1, and RFC 9113, section 6.5.2."""
TABLE_BYTES_MAX: Final = 4096
"""Size of the table; the default, which our settings do not change."""

_STATIC: Final[tuple[Field, ...]] = ((b"", b""), *((bytes(n), bytes(v)) for n, v in HeaderTable.STATIC_TABLE))
_STATIC_SIZE: Final = len(_STATIC)
_SHIFT_MAX: Final = 28
"""Bits of an integer before its last byte; larger numbers are no valid length or index here."""


class HpackFault(Exception):
    """A block that cannot be decoded: the table is out of step, so the connection must end."""


class TooManyFields(HpackFault):
    """A block whose fields are larger than allowed."""


class HpackDecoder:
    """The decoder of one connection."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: bound on all fields of a block together, each with ENTRY_BYTES."""
        self.changes = 0
        """Number of changes of the table: while it is the same, equal bytes mean equal fields."""
        self._bytes_max = bytes_max
        self._entries = deque[Field]()
        """The dynamic table, newest first, as entries are numbered."""
        self._size, self._size_max = 0, TABLE_BYTES_MAX

    def decode(self, block: bytes) -> tuple[list[Field], int]:
        """The fields of a block, in order, and their size. Raises HpackFault."""
        try:
            return self._decode(block)
        except IndexError as error:  # of bytes or of entries
            raise HpackFault("it ends too early, or names an entry that the table has not") from error

    def _decode(self, block: bytes) -> tuple[list[Field], int]:
        fields, entries = list[Field](), self._entries
        at, end, size = 0, len(block), 0
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if not index:
                    raise HpackFault("it names entry 0, which there is not")
                field = _STATIC[index] if index < _STATIC_SIZE else entries[index - _STATIC_SIZE]
            elif first & 0x60 == 0x20:
                if fields:
                    raise HpackFault("the table's size changes behind a field")
                at = self._resize(block, at, first & 0x1F)
                continue
            else:
                field, at = self._literal(block, at, first)
                if first & 0x40:
                    self._add(field)
            fields.append(field)
            size += len(field[0]) + len(field[1]) + ENTRY_BYTES
            if size > self._bytes_max:
                raise TooManyFields(f"header fields of more than {self._bytes_max} bytes")
        return fields, size

    def _literal(self, block: bytes, at: int, first: int) -> tuple[Field, int]:
        """A literal field, or one with a literal value, and where it ends."""
        mask = 0x3F if first & 0x40 else 0x0F
        index = first & mask
        if index == mask:
            index, at = _integer(block, at, mask)
        if not index:
            name, at = _string(block, at)
        else:
            name = (_STATIC[index] if index < _STATIC_SIZE else self._entries[index - _STATIC_SIZE])[0]
        value, at = _string(block, at)
        return (name, value), at

    def _add(self, field: Field) -> None:
        """Add an entry and evict the oldest to make room. An entry larger than the table empties it: section 4.4."""
        self.changes += 1
        self._entries.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + ENTRY_BYTES
        self._evict()

    def _resize(self, block: bytes, at: int, size: int) -> int:
        if size == 0x1F:
            size, at = _integer(block, at, 0x1F)
        if size > TABLE_BYTES_MAX:
            raise HpackFault(f"a table of {size} bytes; at most {TABLE_BYTES_MAX} were allowed")
        self.changes += 1
        self._size_max = size
        self._evict()
        return at

    def _evict(self) -> None:
        while self._size > self._size_max:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + ENTRY_BYTES


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """An integer whose prefix is all ones, section 5.1, and where it ends."""
    for shift in range(0, _SHIFT_MAX + 1, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise HpackFault("a number that is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string, section 5.2, and where it ends."""
    first = block[at]
    size, at = first & 0x7F, at + 1
    if size == 0x7F:
        size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise HpackFault("it ends within a string")
    content = block[at:end]
    if first & 0x80:
        content = _unpacked(content)
    return content, end


_steps: dict[int, tuple[int, bytes, int]] = {}
"""(state << 8 | byte) → the next state, the decoded bytes, and flags: at most 65,536, each computed when it first
occurs. The package's own table takes half a byte at a time."""


def _unpacked(content: bytes) -> bytes:
    """A Huffman-coded string, section 5.2, decoded."""
    state, flags, parts = 0, HUFFMAN_COMPLETE, list[bytes]()
    for byte in content:
        step = _steps.get(state | byte)
        if step is None:
            step = _steps[state | byte] = _step(state >> 8, byte)
        state, part, flags = step
        parts.append(part)
    if not flags & HUFFMAN_COMPLETE:
        raise HpackFault("a string in Huffman's code that ends within a letter")
    return b"".join(parts)


def _step(state: int, byte: int) -> tuple[int, bytes, int]:
    decoded, flags = bytearray(), 0
    for half in (byte >> 4, byte & 0x0F):
        state, flags, letter = HUFFMAN_TABLE[state << 4 | half]
        if flags & HUFFMAN_FAIL:
            raise HpackFault("a string that is not Huffman's code")
        if flags & HUFFMAN_EMIT_SYMBOL:
            decoded.append(letter)
    return state << 8, bytes(decoded), flags
