"""The messages of an Arrow IPC stream, found without decoding them. Pure: bytes in, places out.

A stream is a sequence of messages: four bytes 0xFF, the length of the metadata as a 32-bit number, the metadata (a
FlatBuffer: kind, length of the body, rows), the body. Only what is complete is returned, so that a stream may be read
while it is written, and a torn end be cut off.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SCHEMA: Final = 1
DICTIONARY: Final = 2
BATCH: Final = 3
END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"

_CONTINUATION: Final = 0xFFFFFFFF
_PREFIX_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Message:
    """A complete message: its kind, place, and rows if it is a record batch."""

    kind: int
    start: int
    end: int
    rows: int


@dataclass(frozen=True, slots=True)
class Framing:
    """The complete messages of a stream. `end` is where the last one ends; `ended` says that the end was marked."""

    messages: Sequence[Message]
    end: int
    ended: bool

    @property
    def rows(self) -> int:
        """Rows of all batches."""
        return sum(message.rows for message in self.messages)

    @property
    def complete_to(self) -> int:
        """Where the last record batch ends, or the schema if there is none; 0 without a schema."""
        return next((message.end for message in reversed(self.messages) if message.kind != DICTIONARY), 0)


def scan(data: bytes | memoryview) -> Framing:
    """The complete messages at the beginning of the bytes."""
    messages: list[Message] = []
    place = 0
    while (message := _message(data, place)) is not None:
        if message.kind == 0:
            return Framing(messages, place, ended=True)
        if message.kind != (SCHEMA if not messages else message.kind) or (messages and message.kind == SCHEMA):
            break  # a stream has one schema, which comes first
        messages.append(message)
        place = message.end
    return Framing(messages, place, ended=False)


def _message(data: bytes | memoryview, start: int) -> Message | None:
    """The message at this place; of kind 0 if it is the end of the stream; None if it is not complete."""
    body_start = start + _PREFIX_BYTES
    if body_start > len(data):
        return None
    continuation, length = struct.unpack_from("<Ii", data, start)
    if continuation != _CONTINUATION or length < 0 or body_start + length > len(data):
        return None
    if length == 0:
        return Message(0, start, body_start, 0)
    try:
        kind, body_bytes, rows = _metadata(data[body_start : body_start + length])
    except (struct.error, IndexError):
        return None
    end = body_start + length + body_bytes
    if kind not in (SCHEMA, DICTIONARY, BATCH) or body_bytes < 0 or rows < 0 or end > len(data):
        return None
    return Message(kind, start, end, rows)


def _metadata(metadata: bytes | memoryview) -> tuple[int, int, int]:
    """Kind, bytes of the body, and rows, from the FlatBuffer `Message` of Arrow's format."""
    root = struct.unpack_from("<I", metadata, 0)[0]
    kind_at, header_at, body_at = (_field(metadata, root, number) for number in (1, 2, 3))
    kind = metadata[kind_at] if kind_at else 0
    body_bytes = struct.unpack_from("<q", metadata, body_at)[0] if body_at else 0
    rows = 0
    if kind == BATCH and header_at:
        header = header_at + struct.unpack_from("<I", metadata, header_at)[0]
        rows_at = _field(metadata, header, 0)
        rows = struct.unpack_from("<q", metadata, rows_at)[0] if rows_at else 0
    return kind, body_bytes, rows


def _field(buffer: bytes | memoryview, table: int, number: int) -> int:
    """Where the field of a FlatBuffer table lies; 0 if it is absent."""
    entries = table - struct.unpack_from("<i", buffer, table)[0]
    entry = 4 + 2 * number
    if entries < 0 or entry + 2 > struct.unpack_from("<H", buffer, entries)[0]:
        return 0
    offset = struct.unpack_from("<H", buffer, entries + entry)[0]
    return table + offset if offset else 0
