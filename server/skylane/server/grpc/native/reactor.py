"""The front: one thread that accepts, reads, lets the engine answer, and writes, for all connections.

A turn is: wait until sockets have something; read them all; hand what came for each hot method over as one list; write
every answer. What comes while a batch runs is read in the next turn, and is the next batch. Nothing changes threads
but a slow model's answers, which are brought back here. docs/adr/0008-our-own-front.md has the numbers.
"""

import contextlib
import logging
import math
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from skylane.server.codecs.grpc_status import status_of
from skylane.server.core.errors import Overloaded, ServingError
from skylane.server.core.grant import ANYONE, Grant
from skylane.server.core.types import Call
from skylane.server.grpc.base.method_table import BatchedMethod, CallEnded, TraceOf
from skylane.server.grpc.http2 import response_headers
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.call_streams import CallStreams, StreamMethod, Wrap
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.health import WATCH, Health, Watches
from skylane.server.grpc.http2.limits import Budget, Limits, Places
from skylane.server.grpc.http2.receiving_stream import Tunnel
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.services import OpenTunnel, Services
from skylane.server.grpc.native.acceptor import Acceptor
from skylane.server.grpc.native.poller import READ, WRITE, make_poller
from skylane.server.grpc.native.socket_connection import ConnectionClosed, SocketConnection
from skylane.server.host.connection_limit import RefusedConnections

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often peers that could stall are looked at."""
REFUSING_S: Final = 2e-3
"""Rest after a turn that refused calls for overload: what comes meanwhile is read and refused together, for less CPU
and fewer waits for the GIL of the thread that runs the model. At three times the capacity of a forest on two cores,
what was answered rose from 0.64 of the peak to 0.85 by refusing in groups, 0.91 with 1 ms of rest, 0.96 with 2 ms."""


def _nothing() -> None:
    """A job that brings the next turn."""


class Reactor:
    """Serves hot methods through their intakes, and all others through tunnels."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        method_handlers: Mapping[str, BatchedMethod],
        open_tunnel: OpenTunnel,
        limits: Limits,
        *,
        streaming: Mapping[str, tuple[BatchedMethod, Wrap]] = MappingProxyType({}),
        grant_of: Callable[[str | None], Grant] = lambda _: ANYONE,
        clock: Callable[[], float] = time.monotonic,
        tls: Callable[[], ssl.SSLContext] | None = None,
        trace_of: TraceOf | None = None,
        ended: CallEnded | None = None,
        is_open: Callable[[str], bool] = frozenset[str]().__contains__,
        tokens_required: bool = False,
        health: Health | None = None,
    ) -> None:
        """The sockets are bound; nothing is accepted before `start`.

        `method_handlers`: path of a hot method → who answers it. `streaming`: path of a method whose messages are
        calls → who
        answers them, and how an answer is wrapped. All other paths go to `open_tunnel`.
        `grant_of`: value of an authorization field → what it allows; raises Unauthenticated. `tls` gives the context
        for a new connection. `trace_of`: None where nobody traces. `ended` is told of requests that no
        intake has heard of. `is_open`: whether a path needs no token; `tokens_required`: whether the others do.
        `health`: what
        calls are shown that watch it; None where they go to `open_tunnel` as well.
        """
        self._clock = clock
        self._tunnels = open_tunnel
        self._streams = CallStreams(self)
        unary = {path: CallBuffer(method_handler, self) for path, method_handler in method_handlers.items()}
        self._methods = {
            path: StreamMethod(CallBuffer(method_handler, self._streams), wrap)
            for path, (method_handler, wrap) in streaming.items()
        }
        self._call_buffers = (*unary.values(), *(method.call_buffer for method in self._methods.values()))
        self._services = Services(
            unary,
            self._open_tunnel,
            (unary.keys() | self._methods.keys()).__contains__,
            grant_of,
            self,
            limits,
            Budget(limits.partial_bytes),
            trace_of,
            ended,
            is_open,
            self._place_of,
        )
        self._tokens_required = tokens_required
        self._passed_on = Places(
            limits.passed_on,
            f"the server has {limits.passed_on} calls open beside predictions, as many as it may: send this later",
        )
        self._watching = Places(
            limits.watching,
            f"{limits.watching} calls watch this server's health, as many as may: ask with Check, or watch again later",
        )
        self._watches = Watches(health, self) if health is not None else None
        self._links: dict[int, SocketConnection] = {}
        """File descriptor → its connection."""
        self._sockets: dict[Connection, SocketConnection] = {}
        """The same, by what they hold."""
        self._touched: set[Connection] = set()
        """Those with something to write."""
        self._jobs: deque[Callable[[], object]] = deque()
        """What other threads want done here."""
        self._woken = False
        self._waker, self._alarm = socket.socketpair()
        self._poller = make_poller()
        self._acceptor = Acceptor(listening, self._services, tls, self._poller)
        self._look_at = math.inf
        """When peers are looked at that could stall; never, if none could."""
        self._overloaded = False
        """Whether calls were refused since the last turn because a model has too many."""
        self._draining = self._closing = False
        self._thread = threading.Thread(target=self._serve, name="skylane-front", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        for sock in (self._alarm, self._waker):
            sock.setblocking(False)
        self._poller.register(self._alarm.fileno(), READ)
        self._acceptor.listen()
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a request is coming or under way, or an answer is not with the kernel yet."""
        return any(link.busy for link in list(self._links.values()))

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._links)

    @property
    def refused_connections(self) -> RefusedConnections:
        """Those that there was no room for."""
        return self._acceptor.refused_connections

    def close(self) -> None:
        """Say goodbye to every connection, and close it."""
        if self._thread.ident is None:
            self._acceptor.close()
            self._close_own()
            return
        self.post(self._close)
        self._thread.join()

    def drain(self) -> None:
        """Let nobody in any more, and every stream answer what it has read, and end; ask clients to begin nothing new
        here. See `heard`."""
        self.post(self._drain)

    def _drain(self) -> None:
        self._accept(self._clock())  # who has come already is served, and told
        self._acceptor.close()
        self._streams.drain()
        for link in self._links.values():
            link.connection.announce_end()
            self.touch(link.connection)
        self._draining = True

    @property
    def heard(self) -> bool:
        """Whether all clients know that the front drains. Those that have gone away without a word never will."""
        return self._draining and all(link.connection.ends for link in list(self._links.values()))

    def clock(self) -> float:
        """The engine's time in seconds."""
        return self._clock()

    def do(self, job: Callable[[], object]) -> None:
        """Do this on the front's thread: now, if it is this one. From any thread."""
        if threading.get_ident() == self._thread.ident:
            job()
        else:
            self.post(job)

    def touch(self, connection: Connection) -> None:
        """Write what this connection has to say, in this turn. On the front's thread."""
        self._touched.add(connection)

    def post(self, job: Callable[[], object]) -> None:
        """Do this on the front's thread, soon. From any thread."""
        self._jobs.append(job)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(BlockingIOError, OSError):  # full: it will wake; closed: nobody is there
                self._waker.send(b"\0")

    def change(self, connection: Connection, job: Callable[[], object]) -> None:
        """Do this on the front's thread, soon, and write what the connection then has to say. From any thread."""
        self.post(partial(self._change, connection, job))

    def _change(self, connection: Connection, job: Callable[[], object]) -> None:
        job()
        self.touch(connection)

    def _open_tunnel(self, connection: Connection, stream_id: int, head: RequestHeaders) -> Tunnel:
        method = self._methods.get(head.path)
        if method is not None:
            return self._streams.open(method, connection, stream_id, head)
        if self._watches is not None and head.path == WATCH:
            return self._watches.open(connection, stream_id, head)
        return self._tunnels(connection, stream_id, head)

    def _place_of(self, path: str) -> Places | None:
        """Where calls of a method that is not hot take places. Streams of predictions are bounded by `streams`."""
        if path in self._methods:
            return None
        return self._watching if path == WATCH else self._passed_on

    # --- A turn -----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:  # a fault of ours must not end the thread that serves everybody
                log.exception("a turn of the front met a fault of the server")
                self.post(_nothing)  # what this turn left undone must not wait for the next event
        self._close_own()

    def _turn(self) -> None:
        if self._overloaded:
            self._overloaded = False
            time.sleep(REFUSING_S)
        events = self._poller.poll(self._pause())
        now = self._clock()
        for fd, event in events:
            link = self._links.get(fd)
            if link is not None:
                self._look(link, event, now)
            elif fd == self._alarm.fileno():
                self._wake_up()
            else:
                self._accept(now)
        for call_buffer in self._call_buffers:
            if call_buffer.calls:
                call_buffer.hand_over()
        for _ in range(len(self._jobs)):  # not those that come meanwhile: sockets must have their turn
            self._do(self._jobs.popleft())
        if now >= self._look_at:
            self._look_for_stalled(now)
        touched, self._touched = self._touched, set()
        for connection in touched:
            if (link := self._sockets.get(connection)) is not None:
                self._flush(link, now)

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception:  # those behind it, and the answers of this turn, must not be lost
            log.exception("a job of the front met a fault of the server")

    def _look(self, link: SocketConnection, event: int, now: float) -> None:
        if event & WRITE:
            self._touched.add(link.connection)
            if event == WRITE and not link.reads_when_writable:
                return
        try:
            link.receive(now)
        except ConnectionClosed:
            self._end(link)
        except Exception:  # a fault of ours ends this connection, not the others
            log.exception("a connection met a fault of the server")
            self._end(link)
        else:
            if link.connection.send_buffer.frames:
                self._touched.add(link.connection)
            if link.may_stall:
                self._watch(link)
                self._look_at = min(self._look_at, now + LOOK_S)

    def _flush(self, link: SocketConnection, now: float) -> None:
        try:
            link.flush(now)
        except ConnectionClosed:
            self._end(link)
            return
        except Exception:  # see _look
            log.exception("a connection met a fault of the server")
            self._end(link)
            return
        if self._watch(link) or link.connection.send_buffer.unsent:
            self._look_at = min(self._look_at, now + LOOK_S)

    def _watch(self, link: SocketConnection) -> bool:
        """Look for what the link now waits for; whether that has changed."""
        wanted = link.events
        if wanted == link.watched:
            return False
        self._poller.modify(link.fd, wanted)
        link.watched = wanted
        return True

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._alarm.recv(4096)
        # After the bytes are gone, else one that comes in between is lost; before the jobs are done, so that a job that
        # comes later wakes us again.
        self._woken = False

    # --- Connections ------------------------------------------------------------------------------------------------

    def _accept(self, now: float) -> None:
        for link in self._acceptor.accept(len(self._links), now):
            self._links[link.fd] = self._sockets[link.connection] = link
            self._poller.register(link.fd, READ)
            self._look_at = min(self._look_at, now + LOOK_S)  # it might say nothing
        if not self._acceptor.accepts:  # until we look at all connections again
            self._look_at = min(self._look_at, now + LOOK_S)

    def _end(self, link: SocketConnection) -> None:
        if self._links.pop(link.fd, None) is not None:
            del self._sockets[link.connection]
            self._poller.unregister(link.fd)
            link.close()

    def _pause(self) -> float | None:
        """How long to wait for events: for ever if nobody could stall, and not at all if there is work."""
        if any(call_buffer.calls for call_buffer in self._call_buffers):  # a stream went on when its replies were out
            return 0.0
        return None if self._look_at == math.inf else max(self._look_at - self._clock(), 0.0)

    def _look_for_stalled(self, now: float) -> None:
        for link in list(self._links.values()):
            if link.stalled(now):
                self._end(link)
                continue
            if self._tokens_required:
                link.connection.end_revoked()
                self.touch(link.connection)
            if now >= link.expires_at:
                self._expire(link, now)
        if not self._acceptor.accepts:
            self._acceptor.listen()
        if any(link.may_stall for link in self._links.values()):
            self._look_at = now + LOOK_S
        else:
            self._look_at = max(now + LOOK_S, min((link.expires_at for link in self._links.values()), default=math.inf))

    def _expire(self, link: SocketConnection, now: float) -> None:
        link.expire(now)
        self._flush(link, now)
        if link.is_finished:
            self._end(link)

    def _close_own(self) -> None:
        self._poller.close()
        self._waker.close()
        self._alarm.close()

    def _close(self) -> None:
        self._closing = True
        self._acceptor.close()
        now = self._clock()
        for link in list(self._links.values()):
            link.connection.say_goodbye()
            self._flush(link, now)
            self._end(link)

    # --- Replies: see skylane.server.core.types.Sink ------------------------------------------------------------------

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes]) -> None:
        """See Sink."""
        for call in calls:
            call.done = True
        self.do(partial(self._answer, calls, replies))

    def _answer(self, calls: Sequence[Call], replies: Sequence[bytes]) -> None:
        touched = self._touched
        for call, reply in zip(calls, replies, strict=True):
            connection, stream_id = call.handle
            connection.answer(stream_id, reply)
            touched.add(connection)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See Sink."""
        for call in calls:
            call.done = True
        self._overloaded |= isinstance(error, Overloaded)
        self.do(partial(self._refuse, calls, response_headers.refusal(status_of(error))))

    def _refuse(self, calls: Sequence[Call], block: bytes) -> None:
        for call in calls:
            connection, stream_id = call.handle
            connection.refuse(
                stream_id, block + response_headers.request_id(call.request_id) if call.request_id else block
            )
            self._touched.add(connection)
