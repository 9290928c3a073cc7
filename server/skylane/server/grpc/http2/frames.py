"""HTTP/2 frames as bytes: RFC 9113, sections 4 and 6. Knows no connection, no gRPC."""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
FRAME_BYTES_MAX: Final = 16_384
"""The largest payload of a frame that every peer takes; we announce no other for ourselves."""
WINDOW_MAX: Final = 2**31 - 1
WINDOW_DEFAULT: Final = 65_535
PING_BYTES: Final = 8
PRIORITY_BYTES: Final = 5
GOAWAY_BYTES: Final = 8
"""At least: text may follow."""
STREAM_ID_MAX: Final = 2**31 - 1
TABLE_BYTES_DEFAULT: Final = 4_096


class Kind(IntEnum):
    """Frame types."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20


class Setting(IntEnum):
    """Identifiers of settings that mean something here."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """The peer broke the protocol or a limit: the connection ends, and hears why."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


read_head = struct.Struct(">HBBBI").unpack_from
"""(data, offset) → length / 256, length % 256, kind, flags, stream id with a reserved bit on top."""

pack_u32 = struct.Struct(">I").pack


def frame(kind: Kind, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return pack_u32(len(payload))[1:] + bytes((kind, flags)) + pack_u32(stream_id) + payload


def settings(values: Mapping[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values.items()))


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    """(identifier, value) of a SETTINGS frame's payload, in order. Raises ConnectionFault."""
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes; expected a multiple of 6")
    return list(struct.iter_unpack(">HI", payload))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame: the peer may send so many bytes more."""
    return frame(Kind.WINDOW_UPDATE, 0, stream_id, pack_u32(increment))


def reset(stream_id: int, code: Code) -> bytes:
    """A RST_STREAM frame."""
    return frame(Kind.RST_STREAM, 0, stream_id, pack_u32(code))


def goaway(last_stream_id: int, code: Code, message: str = "") -> bytes:
    """A GOAWAY frame: streams above the last one are not looked at."""
    return frame(Kind.GOAWAY, 0, 0, pack_u32(last_stream_id) + pack_u32(code) + message.encode())


def u32_in(payload: bytes) -> int:
    """The one number of a WINDOW_UPDATE or RST_STREAM frame, without its reserved bit. Raises ConnectionFault."""
    if len(payload) != 4:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {len(payload)} bytes; expected 4")
    return int.from_bytes(payload) & WINDOW_MAX


def data_run(data: bytes, stream_id: int, start: int, end: int) -> tuple[list[memoryview], int, int]:
    """A DATA frame's payload, data[start:end], and those of the DATA frames of the same stream right behind it.

    Returns them, the last one's flags, and where it ends. An empty, padded or unfinished one belongs to no run.
    """
    view, size, flags = memoryview(data), len(data), 0
    parts = [view[start:end]]
    while not flags and size - end >= HEAD_BYTES:
        high, low, kind, next_flags, stream = read_head(data, end)
        length = high << 8 | low
        start, stop = end + HEAD_BYTES, end + HEAD_BYTES + length
        is_ours = kind == Kind.DATA and stream & 0x7FFF_FFFF == stream_id
        if not is_ours or next_flags not in (0, END_STREAM) or not 0 < length <= FRAME_BYTES_MAX or stop > size:
            break
        parts.append(view[start:stop])
        flags, end = next_flags, stop
    return parts, flags, end


def check_priority_frame(stream_id: int, payload: bytes) -> None:
    """Raise ConnectionFault for a PRIORITY frame that none may be. What it says is not used: RFC 9113, section 5.3."""
    if not stream_id:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY on stream 0")
    if len(payload) != PRIORITY_BYTES:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes; expected {PRIORITY_BYTES}")
    check_priority(stream_id, payload, 0)


def check_priority(stream_id: int, payload: bytes, start: int) -> None:
    """Raise ConnectionFault if a stream depends on itself. `start`: where its priority stands in the payload."""
    if len(payload) >= start + 4 and int.from_bytes(payload[start : start + 4]) & WINDOW_MAX == stream_id:
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")


def without_padding(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority. Raises ConnectionFault."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame without its padding's length")
        start, end = 1, end - payload[0]
    if flags & HAS_PRIORITY:
        start += PRIORITY_BYTES
    if start > end:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "padding is longer than the frame")
    return payload[start:end]
