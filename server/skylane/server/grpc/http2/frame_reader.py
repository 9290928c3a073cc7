"""Bytes of one connection → its frames and whole header blocks, which a FrameHandler acts on."""

from typing import Final, Protocol

from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.flood_guard import FloodGuard
from skylane.server.grpc.http2.frames import ACK, END_HEADERS, Code, ConnectionFault, Kind, Setting
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.receiving_stream import ReceivingStream
from skylane.server.grpc.http2.request_headers import DECODED_TIMES
from skylane.server.grpc.http2.send_buffer import SendBuffer

DRAIN_PING: Final = b"goodbye?"
"""Payload of the PING after the GOAWAY that asks the peer to begin nothing new. Its answer means that the peer has read
the GOAWAY."""
FLOWS_A_FRAME: Final = 10
"""A SETTINGS frame changes the window of every response in progress: so many of them count as one frame more that
brings no request."""
_GREETING_BYTES: Final = len(frames.PREFACE) + frames.HEAD_BYTES
"""The preface, and the head of the frame after it, which must be SETTINGS."""


class FrameHandler(Protocol):
    """Acts on the frames that concern requests."""

    def on_headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A HEADERS frame. `FrameReader.gather` makes a whole block of it, unless the handler knows it as it is."""

    def on_block(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A whole header block: a new request, or a client's trailers."""

    def on_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int, now: float) -> int:
        """A DATA frame with the payload data[start:end]. Returns the end of the last frame that was processed: `end`,
        or more if further frames of the same message were processed with it."""
        ...

    def on_window_update(self, stream_id: int, increment: int, now: float) -> None:
        """The peer accepts so many more bytes of a stream's response, or on stream 0 of all responses together."""

    def on_reset(self, stream_id: int, now: float) -> None:
        """The peer has reset a stream."""

    def on_drained(self) -> None:
        """The peer has read that it should begin nothing new; all that it began before has arrived."""


class FrameReader:
    """Exchanges settings with a peer, parses its frames, joins header blocks, and answers what concerns no request."""

    def __init__(self, limits: Limits, send_buffer: SendBuffer, flood_guard: FloodGuard) -> None:
        self._limits, self._send_buffer, self._flood_guard = limits, send_buffer, flood_guard
        self.greeted = False
        """Whether the peer has shown that it speaks HTTP/2."""
        self.asked_to_end = False
        """Whether the peer was asked to begin nothing new."""
        self.rest, self._rest_began_at = b"", 0.0
        """The part of a frame that has not arrived whole."""
        self._block: bytearray | None = None
        """The part of a header block that continues in CONTINUATION frames."""
        self._block_stream, self._block_flags, self._block_began_at = 0, 0, 0.0

    def feed(self, data: bytes, now: float, handler: FrameHandler) -> None:
        """Process what the peer sent. Raises ConnectionFault, after which nothing more may be fed."""
        before = len(self.rest)
        if before:
            data = self.rest + data
        position, size = 0, len(data)
        if not self.greeted:
            if size < _GREETING_BYTES and frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                self.rest = data
                if not before:
                    self._rest_began_at = now
                return
            self._greet(data)
            position = len(frames.PREFACE)
        while size - position >= frames.HEAD_BYTES:
            high, low, kind, flags, stream_id = frames.read_head(data, position)
            stream_id &= 0x7FFF_FFFF
            start = position + frames.HEAD_BYTES
            end = start + (high << 8 | low)
            if end - start > frames.FRAME_BYTES_MAX:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {end - start} bytes")
            if end > size:
                break
            if self._block is not None:
                self._on_continuation(kind, flags, stream_id, data[start:end], now, handler)
            elif kind == Kind.DATA:
                end = handler.on_data(flags, stream_id, data, start, end, now)
            elif kind == Kind.HEADERS:
                handler.on_headers(flags, stream_id, data[start:end], now)
            else:
                self._on_control(kind, flags, stream_id, data[start:end], now, handler)
            position = end
        self.rest = data[position:]
        if self.rest and (position or not before):
            self._rest_began_at = now

    @property
    def is_partial(self) -> bool:
        """Whether a frame or a header block has not arrived whole."""
        return bool(self.rest) or self._block is not None

    def unfinished_since(self, now: float) -> float:
        """When the frame or the header block began that has not arrived whole; now if there is none."""
        began_at = self._rest_began_at if self.rest else now
        return began_at if self._block is None else min(began_at, self._block_began_at)

    def _greet(self, data: bytes) -> None:
        if not data.startswith(frames.PREFACE):
            self.rest = data
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this is not HTTP/2")
        self.greeted = True
        _, _, kind, flags, _ = frames.read_head(data, len(frames.PREFACE))
        self._send_buffer.frames.append(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self._limits.streams,
                    Setting.INITIAL_WINDOW_SIZE: ReceivingStream.WINDOW,
                    Setting.MAX_HEADER_LIST_SIZE: self._limits.header_bytes,
                }
            )
            + frames.window_update(0, frames.WINDOW_MAX - frames.WINDOW_DEFAULT)
        )
        if kind != Kind.SETTINGS or flags & ACK:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "expected SETTINGS as the first frame")
        if self.asked_to_end:
            self.announce_end()

    def gather(self, flags: int, stream_id: int, block: bytes, now: float, handler: FrameHandler) -> None:
        """Process the payload of a HEADERS frame: a block, or the beginning of one."""
        if flags & frames.HAS_PRIORITY:
            frames.check_priority(stream_id, block, 1 if flags & frames.PADDED else 0)
        block = frames.without_padding(flags, block)
        if flags & END_HEADERS:
            handler.on_block(flags, stream_id, block, now)
        else:
            self._block, self._block_stream, self._block_flags = bytearray(block), stream_id, flags
            self._block_began_at = now

    def _on_continuation(
        self, kind: int, flags: int, stream_id: int, block: bytes, now: float, handler: FrameHandler
    ) -> None:
        if kind != Kind.CONTINUATION or stream_id != self._block_stream or self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was not finished")
        self._block += block
        bytes_max = DECODED_TIMES * self._limits.header_bytes
        if len(self._block) > bytes_max:  # it grows when decoded
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a header block over {bytes_max} bytes")
        self._flood_guard.lose(now)
        if flags & END_HEADERS:
            whole, self._block = bytes(self._block), None
            handler.on_block(self._block_flags, stream_id, whole, now)

    # --- What concerns no request -------------------------------------------------------------------------------------

    def _on_control(
        self, kind: int, flags: int, stream_id: int, payload: bytes, now: float, handler: FrameHandler
    ) -> None:
        if kind != Kind.WINDOW_UPDATE:  # a client that reads a stream sends one for each message
            self._flood_guard.lose(now)
        match kind:
            case Kind.WINDOW_UPDATE:
                handler.on_window_update(stream_id, frames.u32_in(payload), now)
            case Kind.RST_STREAM:
                frames.u32_in(payload)
                handler.on_reset(stream_id, now)
            case Kind.PRIORITY:
                frames.check_priority_frame(stream_id, payload)
            case Kind.SETTINGS | Kind.PING | Kind.GOAWAY if stream_id:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"{Kind(kind).name} on stream {stream_id}; expected 0")
            case Kind.SETTINGS:
                self._on_settings(flags, payload, now)
            case Kind.PING if not flags & ACK:
                if len(payload) != frames.PING_BYTES:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes; expected 8")
                self._send_buffer.frames.append(frames.frame(Kind.PING, ACK, 0, payload))
            case Kind.PING if self.asked_to_end and payload == DRAIN_PING:
                handler.on_drained()
            case Kind.GOAWAY if len(payload) < frames.GOAWAY_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes; expected 8 or more")
            case Kind.PUSH_PROMISE | Kind.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"a client sends no {Kind(kind).name} here")
            case _:
                pass  # GOAWAY, an acknowledged PING, and unknown kinds

    def _on_settings(self, flags: int, payload: bytes, now: float) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"an acknowledgement of {len(payload)} bytes; expected 0")
            return
        self._flood_guard.lose(now, self._send_buffer.begun // FLOWS_A_FRAME)  # each of which has its window changed
        # What uses a new setting is sent after the acknowledgement: until then the peer expects its old settings.
        self._send_buffer.frames.append(frames.frame(Kind.SETTINGS, ACK, 0))
        for setting, value in dict(
            frames.settings_in(payload)
        ).items():  # the last value of each: a frame may have thousands
            self._send_buffer.apply(setting, value)

    def announce_end(self) -> None:
        """Ask the peer to begin nothing new. What it begins before it reads this is still answered."""
        self.asked_to_end = True
        if self.greeted:
            self._send_buffer.frames.append(frames.goaway(frames.STREAM_ID_MAX, Code.NO_ERROR))
            self._send_buffer.frames.append(frames.frame(Kind.PING, 0, 0, DRAIN_PING))
