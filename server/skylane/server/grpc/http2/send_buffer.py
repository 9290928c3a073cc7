"""The output of one connection: frames in order, and messages that wait for the peer's windows. No sockets.

Almost every reply is one small message, and is written at once as HEADERS, DATA and HEADERS. The windows of streams
are tracked only for those that need it.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.frames import Code, ConnectionFault, Kind, Setting
from skylane.server.grpc.http2.messages import PREFIX_BYTES

_pack_opening = struct.Struct(f">5sI{len(response_headers.OPENING)}sHBHIBI").pack
_pack_closing = struct.Struct(f">5sI{len(response_headers.OK)}s").pack
_OPENING_HEAD: Final = frames.frame(Kind.HEADERS, frames.END_HEADERS, 0, response_headers.OPENING)[:5]
_CLOSING_HEAD: Final = frames.frame(Kind.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0, response_headers.OK)[:5]
_NO_FLAGS: Final = 0
Sent = Callable[[], None]


def _nobody() -> None:
    """A callback for messages whose completion does not matter."""


class _Flow:
    """The sending half of a stream that is more than one small message."""

    __slots__ = ("closing", "is_reply", "parts", "resets", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.is_reply = False
        """Whether this is the whole answer to a unary call, which a caller has no reason to delay."""
        self.resets = False
        """Whether the stream is reset after the answer, so that the client stops sending."""
        self.parts: deque[tuple[memoryview, Sent]] = deque()
        """Bytes that no window had room for yet, each with the callback for when they are sent."""
        self.closing: bytes | None = None
        """Trailers, once they are known."""


class SendBuffer:
    """The sending half of one connection."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        """Bytes ready to be written; the writer empties it."""
        self.unsent = 0
        """Bytes of messages that wait for the peer's windows."""
        self.finishing = 0
        """Complete answers that wait for the peer's windows."""
        self.moved = 0
        """Number of DATA frames sent; if it does not grow, the peer does not open its windows."""
        self._window = self._window_of_streams = self._granted = frames.WINDOW_DEFAULT
        self._frame_max = frames.FRAME_BYTES_MAX
        self._at_once_max = frames.WINDOW_DEFAULT
        """Size of a new stream's window; 0 while header blocks need a prefix."""
        self._first_in_block = b""
        """Prefix of the next header block."""
        self._flows: dict[int, _Flow] = {}
        self._starved: dict[int, _Flow] = {}
        """Streams that wait only for the connection's window. Visiting all streams for each update would cost the
        server more than it costs an attacker to send it."""
        self._is_held = False

    def reply(self, stream_id: int, message: bytes, closing: bytes = response_headers.OK) -> None:
        """The whole answer of a successful unary call. `closing`: its trailers."""
        size = len(message) + PREFIX_BYTES
        if size > self._at_once_max or size > self._window or (self._is_held and size > self._frame_max):
            self.open(stream_id)
            self._flow(stream_id).is_reply = True
            self.send(stream_id, message)
            self.close(stream_id, closing)
            return
        self._window -= size
        if self._flows:
            self._flows.pop(stream_id, None)
        if size > self._frame_max:
            self._reply_in_frames(stream_id, b"\x00" + frames.pack_u32(len(message)) + message, closing)
            return
        self.frames.append(
            _pack_opening(
                _OPENING_HEAD, stream_id, response_headers.OPENING,
                size >> 8, size & 0xFF, _NO_FLAGS, stream_id,
                0, len(message),
            )
            + message
            + (_pack_closing(_CLOSING_HEAD, stream_id, closing) if closing is response_headers.OK
               else frames.frame(Kind.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, closing))
        )  # fmt: skip

    def _reply_in_frames(self, stream_id: int, content: bytes, closing: bytes) -> None:
        """An answer that fits into the windows, but not into a single frame."""
        stream, size = frames.pack_u32(stream_id), self._frame_max
        starts = range(0, len(content), size)
        parts = (frames.frame(Kind.DATA, 0, stream_id, content[start : start + size]) for start in starts)
        opening = _OPENING_HEAD + stream + response_headers.OPENING
        last = frames.frame(Kind.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, closing)
        self.frames.append(b"".join((opening, *parts, last)))

    # --- Replies in pieces ------------------------------------------------------------------------------------------

    def open(self, stream_id: int, metadata: bytes = b"") -> None:
        """Begin an answer."""
        self._flow(stream_id)
        self.headers(stream_id, response_headers.OPENING + metadata, ends=False)

    def send(self, stream_id: int, message: bytes, sent: Sent = _nobody) -> None:
        """Send a message as far as the windows have room, and the rest when they have. `sent` is called at the end."""
        flow = self._flow(stream_id)
        flow.parts.append((memoryview(b"\x00" + frames.pack_u32(len(message)) + message), sent))
        self.unsent += len(message) + PREFIX_BYTES
        self._pump(stream_id, flow)

    def close(self, stream_id: int, closing: bytes, *, resets: bool = False) -> None:
        """End an answer with these trailers, if any, after all its messages; `resets`: then reset the stream, so that
        the client stops sending."""
        flow = self._flow(stream_id)
        flow.closing, flow.resets = closing, resets
        self.finishing += 1
        self._pump(stream_id, flow)

    def explain(self, stream_id: int, block: bytes, text: bytes, *, resets: bool) -> None:
        """The whole answer to a request that is not gRPC: fields and text. `resets`: see `close`."""
        flow = self._flow(stream_id)
        flow.is_reply = True
        self.headers(stream_id, block, ends=False)
        flow.parts.append((memoryview(text), _nobody))
        self.unsent += len(text)
        self.close(stream_id, b"", resets=resets)

    def refuse(self, stream_id: int, block: bytes) -> None:
        """End an answer that has not begun, in one HEADERS frame."""
        self.headers(stream_id, block, ends=True)
        self.forget(stream_id)

    def headers(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        """A header block, in as many frames as needed."""
        if self._first_in_block:
            block, self._first_in_block = self._first_in_block + block, b""
            self._look_for_shortcut()
        first, rest = block[: self._frame_max], block[self._frame_max :]
        flags = frames.END_STREAM if ends else 0
        kind = Kind.HEADERS
        while rest:
            self.frames.append(frames.frame(kind, flags, stream_id, first))
            first, rest, kind, flags = rest[: self._frame_max], rest[self._frame_max :], Kind.CONTINUATION, 0
        self.frames.append(frames.frame(kind, flags | frames.END_HEADERS, stream_id, first))

    def has(self, stream_id: int) -> bool:
        """Whether this stream's answer has begun and is not completely sent."""
        return stream_id in self._flows

    def forget(self, stream_id: int) -> None:
        """Discard what this stream still has to send."""
        if (flow := self._flows.pop(stream_id, None)) is not None:
            self._starved.pop(stream_id, None)
            self.unsent -= sum(len(part) for part, _ in flow.parts)
            self.finishing -= flow.closing is not None

    @property
    def sent_bytes(self) -> int:
        """Bytes of DATA sent so far."""
        return self._granted - self._window

    @property
    def begun(self) -> int:
        """Answers that have begun, or whose windows are known."""
        return len(self._flows)

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self.frames or self.unsent or self.finishing)

    @property
    def owes_reply(self) -> bool:
        """Whether the whole answer to a unary call waits for the peer's windows. Visits all open streams."""
        return not self._is_held and any(flow.is_reply for flow in self._flows.values())

    def hold(self, is_held: bool) -> None:
        """Hold messages back while the peer does not read, whatever its windows allow."""
        self._is_held = is_held
        self._feed_starved()

    # --- What the peer allows ---------------------------------------------------------------------------------------

    def apply(self, setting: int, value: int) -> None:
        """Apply one of the peer's settings. Raises ConnectionFault."""
        if setting == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.WINDOW_MAX:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"initial window of {value} bytes")
            change, self._window_of_streams = value - self._window_of_streams, value
            for stream_id, flow in list(self._flows.items()) if change else ():
                flow.window += change
                if flow.window > frames.WINDOW_MAX:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of a stream beyond 2^31 - 1 bytes")
                self._pump(stream_id, flow)
        elif setting == Setting.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES_MAX <= value < 2**24:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"largest frame of {value} bytes")
            self._frame_max = value
        elif setting == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"ENABLE_PUSH: expected 0 or 1, received {value}")
        elif setting == Setting.HEADER_TABLE_SIZE and value < frames.TABLE_BYTES_DEFAULT:
            self._first_in_block = response_headers.NO_TABLE  # we use no dynamic table, which the peer must be told
        self._look_for_shortcut()

    def widen(self, increment: int) -> None:
        """The peer enlarges the connection's window. Raises ConnectionFault."""
        self._window = _widened(self._window, increment)
        self._granted += increment
        self._feed_starved()

    def widen_stream(self, stream_id: int, increment: int) -> bool:
        """The peer enlarges an open stream's window; returns whether the new size is valid. Raises ConnectionFault."""
        flow = self._flow(stream_id)
        if increment and flow.window + increment > frames.WINDOW_MAX:
            return False
        flow.window = _widened(flow.window, increment)
        self._pump(stream_id, flow)
        return True

    def _look_for_shortcut(self) -> None:
        self._at_once_max = 0 if self._first_in_block else self._window_of_streams

    def _flow(self, stream_id: int) -> _Flow:
        flow = self._flows.get(stream_id)
        if flow is None:
            flow = self._flows[stream_id] = _Flow(self._window_of_streams)
        return flow

    def _feed_starved(self) -> None:
        while self._starved and self._window > 0 and not self._is_held:
            stream_id = next(iter(self._starved))  # waits longest; goes to the end if some is left
            self._pump(stream_id, self._starved.pop(stream_id))

    def _pump(self, stream_id: int, flow: _Flow) -> None:
        """Send what the windows have room for, and after the last byte the trailers."""
        while flow.parts and not self._is_held and (room := min(self._window, flow.window, self._frame_max)) > 0:
            part, sent = flow.parts.popleft()
            if len(part) > room:
                flow.parts.appendleft((part[room:], sent))
                part, sent = part[:room], _nobody
            self.frames.append(frames.frame(Kind.DATA, 0, stream_id, bytes(part)))
            self._window -= len(part)
            flow.window -= len(part)
            self.unsent -= len(part)
            self.moved += 1
            sent()
        if flow.parts:
            if flow.window > 0:
                self._starved[stream_id] = flow
        elif flow.closing is not None:
            self.forget(stream_id)
            if flow.closing:
                self.headers(stream_id, flow.closing, ends=True)
            else:
                self.frames.append(frames.frame(Kind.DATA, frames.END_STREAM, stream_id))
            if flow.resets:
                self.frames.append(frames.reset(stream_id, Code.NO_ERROR))


def _widened(window: int, increment: int) -> int:
    if not increment:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a window grows by 0 bytes")
    if (window := window + increment) > frames.WINDOW_MAX:
        raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window grows beyond 2^31 - 1 bytes")
    return window
