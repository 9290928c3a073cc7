"""The reactor: one thread that accepts, reads, runs the engine, and writes, for all connections.

A turn is: wait until sockets are ready; read them all; hand over the calls of each batched method as one list; write
all replies. Calls that arrive while a batch runs are read in the next turn and form the next batch. Only the replies of
slow models come from other threads. docs/adr/0008-our-own-front.md has the numbers.
"""

import contextlib
import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.native.acceptor import Acceptor
from skylane.server.grpc.native.call_router import CallRouter
from skylane.server.grpc.native.config import ReactorConfig
from skylane.server.grpc.native.drain import Drain
from skylane.server.grpc.native.open_connections import OpenConnections
from skylane.server.grpc.native.poller import READ, make_poller
from skylane.server.grpc.native.reply_sink import ReplySink
from skylane.server.host.connection_limit import RefusedConnections

log = logging.getLogger(__name__)

REFUSING_S: Final = 2e-3
"""Pause after a turn that refused calls for overload: calls that arrive meanwhile are read and refused together, which
takes less CPU and delays the thread that runs the model less. At three times the capacity of a forest on two cores, the
answered rate rose from 0.64 of the peak to 0.85 by refusing in groups, 0.91 with a pause of 1 ms, 0.96 with 2 ms."""
TURN_S: Final = 10e-3
"""Reading of one turn, after which what has arrived is answered; the sockets that are left come first in the next."""


def _nothing() -> None:
    """A job that starts the next turn."""


class Reactor:
    """The event loop of the native transport."""

    def __init__(self, listening: Sequence[socket.socket], config: ReactorConfig) -> None:
        """The sockets are bound; nothing is accepted before `start`."""
        self._clock = config.clock
        self._touched: set[Connection] = set()
        """Connections with something to write."""
        self._jobs: deque[Callable[[], object]] = deque()
        """Functions that other threads want called on this one."""
        self._woken = False
        self._waker, self._alarm = socket.socketpair()
        self._poller = make_poller()
        self._sink = ReplySink(self.do, self._touched)
        self._router = CallRouter(config, self, self._sink)
        self._acceptor = Acceptor(listening, self._router.services, config.tls, self._poller)
        self._connections = OpenConnections(
            self._acceptor, self._poller, self._touched, config.clock, tokens_required=config.tokens_required
        )
        self._unread: dict[int, int] = {}
        """Sockets that the last turn had no time for, and their events."""
        self._drain = Drain(self._acceptor, self._connections, self._router)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="skylane-reactor", daemon=True)

    # --- From any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept."""
        for sock in (self._alarm, self._waker):
            sock.setblocking(False)
        self._poller.register(self._alarm.fileno(), READ)
        self._acceptor.listen()
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a request is arriving or running, or a response has not been handed to the kernel."""
        return any(each.busy for each in self._connections.all())

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    @property
    def refused_connections(self) -> RefusedConnections:
        """Connections beyond the limit."""
        return self._acceptor.refused_connections

    def drain(self) -> None:
        """Accept no more connections, end streams after what they have read, and ask clients to begin nothing new. See
        `heard`."""
        self.post(lambda: self._drain.begin(self._clock()))

    @property
    def heard(self) -> bool:
        """Whether all clients have read that the server drains. Those that have vanished never do."""
        return self._drain.heard

    def close(self) -> None:
        """Say goodbye to every connection, and close it."""
        if self._thread.ident is None:
            self._acceptor.close()
            self._close_own()
            return
        self.post(self._close)
        self._thread.join()

    def clock(self) -> float:
        """The engine's time in seconds."""
        return self._clock()

    def do(self, job: Callable[[], object]) -> None:
        """Call this on the reactor's thread: now, if this is it."""
        if threading.get_ident() == self._thread.ident:
            job()
        else:
            self.post(job)

    def post(self, job: Callable[[], object]) -> None:
        """Call this soon on the reactor's thread."""
        self._jobs.append(job)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: it has ended
                self._waker.send(b"\0")

    def change(self, connection: Connection, job: Callable[[], object]) -> None:
        """Call this soon on the reactor's thread, and write what the connection then has ready."""
        self.post(partial(self._change, connection, job))

    # --- On its own thread ------------------------------------------------------------------------------------------

    def touch(self, connection: Connection) -> None:
        """Write what this connection has ready, in this turn."""
        self._touched.add(connection)

    def _change(self, connection: Connection, job: Callable[[], object]) -> None:
        job()
        self.touch(connection)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:  # a bug must not end the thread that serves all connections
                log.exception("a turn of the reactor failed with an internal error")
                self.post(_nothing)  # the rest of this turn's work must not wait for the next event
        self._close_own()

    def _turn(self) -> None:
        if self._sink.take_overloaded():
            time.sleep(REFUSING_S)
        events = self._poller.poll(self._timeout())
        now, connections = self._clock(), self._connections
        if now >= connections.resume_at:
            connections.resume()
        self._read(events, now)
        self._router.hand_over()
        for _ in range(len(self._jobs)):  # not those that are added meanwhile: sockets come first
            self._run(self._jobs.popleft())
        if now >= connections.check_at:
            connections.check(now)
        connections.flush(now)

    def _read(self, events: list[tuple[int, int]], now: float) -> None:
        """Handle the events of sockets, those of the last turn first, as many as there is time for."""
        if self._unread:
            events = list({**self._unread, **dict(events)}.items())
            self._unread = {}
        self._connections.share_out(len(events))
        ends_at = now + TURN_S
        for place, (fd, event) in enumerate(events, 1):
            if not self._connections.handle(fd, event, now):
                if fd == self._alarm.fileno():
                    self._wake_up()
                else:
                    self._connections.accept(now)
            if self._clock() >= ends_at:
                self._unread = dict(events[place:])
                return

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception:  # the other jobs and the replies of this turn must not be lost
            log.exception("a job of the reactor failed with an internal error")

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._alarm.recv(4096)
        # After the bytes are read, else one that is sent in between would be lost; before the jobs are run, so that a
        # later job wakes the thread again.
        self._woken = False

    def _timeout(self) -> float | None:
        """How long to wait for events: without limit if no peer could stall, and not at all if there is work."""
        if self._router.has_calls or self._unread:  # calls: a stream has made some when its replies were sent
            return 0.0
        check_at = min(self._connections.check_at, self._connections.resume_at)
        return None if check_at == math.inf else max(check_at - self._clock(), 0.0)

    def _close(self) -> None:
        self._closing = True
        self._acceptor.close()
        self._connections.close(self._clock())

    def _close_own(self) -> None:
        self._poller.close()
        self._waker.close()
        self._alarm.close()
