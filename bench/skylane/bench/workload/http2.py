"""What the clients of the bench begin a connection and send a request with, as bytes of HTTP/2. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from skylane.bench.workload.payloads import PREDICT
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, FRAME_BYTES_MAX, Kind, Setting, frame
from skylane.server.grpc.http2.response_headers import field

ROOMY: Final[Mapping[Setting, int]] = MappingProxyType(
    {Setting.HEADER_TABLE_SIZE: 0, Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: frames.WINDOW_MAX}
)
"""No table of header fields, so that equal bytes always mean the same, and replies are never held up by a window."""


def greeting(settings: Mapping[Setting, int] = ROOMY) -> bytes:
    """Preface and settings, and a window as large as it can be for the connection."""
    window = frames.window_update(0, frames.WINDOW_MAX - frames.WINDOW_DEFAULT)
    return frames.PREFACE + frames.settings(settings) + window


def request_headers(path: str = PREDICT, *, authority: str = "here", https: bool = False, kind: str = "grpc") -> bytes:
    """The header block of a call to a method of gRPC; nothing in it enters the server's table.

    `kind`: of `content-type`, what stands behind `application/`.
    """
    post = b"\x83\x87" if https else b"\x83\x86"  # `:method: POST` and `:scheme`, from the static table
    fields = {":path": path, ":authority": authority, "te": "trailers", "content-type": f"application/{kind}"}
    return post + b"".join(field(name, value.encode()) for name, value in fields.items())


HEAD: Final = request_headers()
"""Of a call to Predict."""


def begin(stream: int, block: bytes = HEAD, *, ends: bool = False) -> bytes:
    """The headers of a request. `ends`: nothing follows on this stream."""
    return frame(Kind.HEADERS, END_HEADERS | END_STREAM * ends, stream, block)


def data(stream: int, payload: bytes, *, ends: bool = False) -> bytes:
    """A payload that is not empty, in as many frames as it needs."""
    pieces = [payload[at : at + FRAME_BYTES_MAX] for at in range(0, len(payload), FRAME_BYTES_MAX)]
    sent = b"".join(frame(Kind.DATA, 0, stream, piece) for piece in pieces[:-1])
    return sent + frame(Kind.DATA, END_STREAM * ends, stream, pieces[-1])


def whole_call(stream: int, message: bytes, block: bytes = HEAD) -> bytes:
    """A request with its message, which has gRPC's prefix."""
    return begin(stream, block) + data(stream, message, ends=True)
