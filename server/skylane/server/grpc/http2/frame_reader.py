"""Bytes of one connection → its frames and whole header blocks, for `connection` to act on."""

from abc import ABC, abstractmethod
from typing import Final

from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.flood_guard import FloodGuard
from skylane.server.grpc.http2.frames import ACK, END_HEADERS, Code, ConnectionFault, Kind, Setting
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.receiving_stream import ReceivingStream
from skylane.server.grpc.http2.request_headers import DECODED_TIMES
from skylane.server.grpc.http2.send_buffer import SendBuffer

END_HEARD: Final = b"goodbye?"
"""Payload of the PING behind the request to begin nothing new: its answer says that the request was heard."""
FLOWS_A_FRAME: Final = 10
"""So many answers that wait make settings cost a peer as much as one frame more that brings no request."""
_GREETING_BYTES: Final = len(frames.PREFACE) + frames.HEAD_BYTES
"""The preface, and the head of the frame behind it, which must be SETTINGS."""
CONNECTION_WINDOW_STEP: Final = 2**29
"""The connection's own window is never the limit (streams and the budget are): it is refilled in large steps."""


class FrameReader(ABC):
    """Greets a peer, takes its frames apart, puts header blocks together, and answers what concerns no request."""

    def __init__(self, limits: Limits) -> None:
        self.send_buffer = SendBuffer()
        self._limits = limits
        self._flood_guard = FloodGuard(limits.idle_frames)
        self.greeted = False
        """Whether the peer has shown that it speaks HTTP/2."""
        self._asked_to_end = False
        self._rest, self._rest_began_at = b"", 0.0
        """A frame that goes on."""
        self._block: bytearray | None = None
        """A header block that goes on in CONTINUATION frames."""
        self._block_stream, self._block_flags, self._block_began_at = 0, 0, 0.0
        self._unacknowledged = 0
        """Bytes of DATA since the connection's window was refilled."""

    @abstractmethod
    def _on_headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A HEADERS frame; `_gather` makes a whole block of it, unless it is known as it is."""

    @abstractmethod
    def _on_block(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A whole header block: a new request, or a client's trailers."""

    @abstractmethod
    def _on_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int, now: float) -> int:
        """A DATA frame, whose payload is data[start:end]. Returns where the last frame ends that was taken: `end`, or
        beyond it if others go on with the payload."""

    @abstractmethod
    def _on_window_update(self, stream_id: int, increment: int, now: float) -> None:
        """The peer takes so many bytes more of a stream's answer, or of all together on stream 0."""

    @abstractmethod
    def _on_reset(self, stream_id: int, now: float) -> None:
        """The peer wants no more of a stream."""

    @abstractmethod
    def _on_end_heard(self) -> None:
        """The peer knows that it should begin nothing new, and all that it began before is here."""

    def feed(self, data: bytes, now: float) -> None:
        """Take what the peer sent; calls go to their buffers, protocol replies to the send buffer. Raises
        ConnectionFault, after which the connection is of no more use."""
        before = len(self._rest)
        if before:
            data = self._rest + data
        position, size = 0, len(data)
        if not self.greeted:
            if size < _GREETING_BYTES and frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                self._rest = data
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
                self._on_continuation(kind, flags, stream_id, data[start:end], now)
            elif kind == Kind.DATA:
                end = self._on_data(flags, stream_id, data, start, end, now)
            elif kind == Kind.HEADERS:
                self._on_headers(flags, stream_id, data[start:end], now)
            else:
                self._on_control(kind, flags, stream_id, data[start:end], now)
            position = end
        self._rest = data[position:]
        if self._rest and (position or not before):
            self._rest_began_at = now
        if self._unacknowledged >= CONNECTION_WINDOW_STEP:
            self.send_buffer.frames.append(frames.window_update(0, self._unacknowledged))
            self._unacknowledged = 0

    def unfinished_since(self, now: float) -> float:
        """When the frame or the header block began that is not whole; now if there is none."""
        began_at = self._rest_began_at if self._rest else now
        return began_at if self._block is None else min(began_at, self._block_began_at)

    def _greet(self, data: bytes) -> None:
        if not data.startswith(frames.PREFACE):
            self._rest = data
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this is not HTTP/2")
        self.greeted = True
        _, _, kind, flags, _ = frames.read_head(data, len(frames.PREFACE))
        self.send_buffer.frames.append(
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
        if self._asked_to_end:
            self.announce_end()

    def _gather(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """The payload of a HEADERS frame: a block, or the beginning of one."""
        if flags & frames.HAS_PRIORITY:
            frames.check_priority(stream_id, block, 1 if flags & frames.PADDED else 0)
        block = frames.without_padding(flags, block)
        if flags & END_HEADERS:
            self._on_block(flags, stream_id, block, now)
        else:
            self._block, self._block_stream, self._block_flags = bytearray(block), stream_id, flags
            self._block_began_at = now

    def _on_continuation(self, kind: int, flags: int, stream_id: int, block: bytes, now: float) -> None:
        if kind != Kind.CONTINUATION or stream_id != self._block_stream or self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was not finished")
        self._block += block
        bytes_max = DECODED_TIMES * self._limits.header_bytes
        if len(self._block) > bytes_max:  # it grows when decoded
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a header block over {bytes_max} bytes")
        self._flood_guard.lose(now)
        if flags & END_HEADERS:
            whole, self._block = bytes(self._block), None
            self._on_block(self._block_flags, stream_id, whole, now)

    # --- What concerns no request -------------------------------------------------------------------------------------

    def _on_control(self, kind: int, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        if kind != Kind.WINDOW_UPDATE:  # of which a client that reads a stream sends one for each message
            self._flood_guard.lose(now)
        match kind:
            case Kind.WINDOW_UPDATE:
                self._on_window_update(stream_id, frames.u32_in(payload), now)
            case Kind.RST_STREAM:
                frames.u32_in(payload)
                self._on_reset(stream_id, now)
            case Kind.PRIORITY:
                frames.check_priority_frame(stream_id, payload)
            case Kind.SETTINGS | Kind.PING | Kind.GOAWAY if stream_id:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"{Kind(kind).name} on stream {stream_id}; expected 0")
            case Kind.SETTINGS:
                self._on_settings(flags, payload, now)
            case Kind.PING if not flags & ACK:
                if len(payload) != frames.PING_BYTES:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes; expected 8")
                self.send_buffer.frames.append(frames.frame(Kind.PING, ACK, 0, payload))
            case Kind.PING if self._asked_to_end and payload == END_HEARD:
                self._on_end_heard()
            case Kind.GOAWAY if len(payload) < frames.GOAWAY_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes; expected 8 or more")
            case Kind.PUSH_PROMISE | Kind.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"a client sends no {Kind(kind).name} here")
            case _:
                pass  # GOAWAY, a PING's answer, and kinds that are not known

    def _on_settings(self, flags: int, payload: bytes, now: float) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"an acknowledgement of {len(payload)} bytes; expected 0")
            return
        self._flood_guard.lose(now, self.send_buffer.begun // FLOWS_A_FRAME)  # each of which has its window changed
        # What makes use of a setting comes after the acknowledgement: before it, a peer holds us to its old ones.
        self.send_buffer.frames.append(frames.frame(Kind.SETTINGS, ACK, 0))
        for setting, value in dict(frames.settings_in(payload)).items():  # the last of each: a frame may have thousands
            self.send_buffer.apply(setting, value)

    def announce_end(self) -> None:
        """Ask the peer to begin nothing new. What it begins before it hears this is still answered."""
        self._asked_to_end = True
        if self.greeted:
            self.send_buffer.frames.append(frames.goaway(frames.STREAM_ID_MAX, Code.NO_ERROR))
            self.send_buffer.frames.append(frames.frame(Kind.PING, 0, 0, END_HEARD))
