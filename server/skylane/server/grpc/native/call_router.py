"""Where the calls of a reactor's connections go: to a batched method, a stream of calls, a watch, or a handler."""

from skylane.server.core.types import Sink
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.call_streams import CallStreams, StreamMethod, Thread
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.health import WATCH, Watches
from skylane.server.grpc.http2.limits import Budget, Places
from skylane.server.grpc.http2.receiving_stream import StreamHandler
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.services import Services
from skylane.server.grpc.native.config import ReactorConfig


class CallRouter:
    """Knows the handler of each path. Belongs to the reactor's thread."""

    def __init__(self, config: ReactorConfig, thread: Thread, sink: Sink) -> None:
        """`sink` gets the replies to unary calls."""
        self._open_proxied = config.open_stream
        self._streams = CallStreams(thread)
        self._stream_methods = {
            path: StreamMethod(CallBuffer(handler, self._streams), wrap)
            for path, (handler, wrap) in config.streaming.items()
        }
        self._watches = Watches(config.health, thread) if config.health is not None else None
        limits = config.limits
        self._passed_on = Places(
            limits.passed_on,
            f"the server has {limits.passed_on} calls open beside predictions, as many as it may: send this later",
        )
        self._watching = Places(
            limits.watching,
            f"{limits.watching} calls watch this server's health, as many as may: ask with Check, or watch again later",
        )
        unary = {path: CallBuffer(handler, sink) for path, handler in config.method_handlers.items()}
        self.call_buffers = (*unary.values(), *(method.call_buffer for method in self._stream_methods.values()))
        """The calls that are collected until they are handed over."""
        self.services = Services(
            unary,
            self._open_stream,
            (unary.keys() | self._stream_methods.keys()).__contains__,
            config.grant_of,
            sink,
            limits,
            Budget(limits.partial_bytes),
            config.trace_of,
            config.ended,
            config.is_open,
            self._place_of,
        )
        """What the connections need."""

    def hand_over(self) -> None:
        """Give the collected calls to their methods, each as one list."""
        for call_buffer in self.call_buffers:
            if call_buffer.calls:
                call_buffer.hand_over()

    @property
    def has_calls(self) -> bool:
        """Whether there are collected calls."""
        return any(call_buffer.calls for call_buffer in self.call_buffers)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end."""
        self._streams.drain()

    def _open_stream(self, connection: Connection, stream_id: int, headers: RequestHeaders) -> StreamHandler:
        method = self._stream_methods.get(headers.path)
        if method is not None:
            return self._streams.open(method, connection, stream_id, headers)
        if self._watches is not None and headers.path == WATCH:
            return self._watches.open(connection, stream_id, headers)
        return self._open_proxied(connection, stream_id, headers)

    def _place_of(self, path: str) -> Places | None:
        """Where calls of a method that is not batched take places. Streams of predictions are bounded by `streams`."""
        if path in self._stream_methods:
            return None
        return self._watching if path == WATCH else self._passed_on
