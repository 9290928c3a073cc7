"""The reactor: one thread that accepts, reads, lets the engine answer, and writes, for all connections.

A turn is: wait until sockets have something; read them all; hand what came for each batched method over as one list;
write every answer. What comes while a batch runs is read in the next turn, and is the next batch. Nothing changes
threads but a slow model's answers, which are brought back here. docs/adr/0008-our-own-front.md has the numbers.
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
"""Rest after a turn that refused calls for overload: what comes meanwhile is read and refused together, for less CPU
and fewer waits for the GIL of the thread that runs the model. At three times the capacity of a forest on two cores,
what was answered rose from 0.64 of the peak to 0.85 by refusing in groups, 0.91 with 1 ms of rest, 0.96 with 2 ms."""
TURN_S: Final = 10e-3
"""Reading of one turn, after which what has come is answered; the sockets that are left come first in the next turn."""


def _nothing() -> None:
    """A job that brings the next turn."""


class Reactor:
    """The event loop of the native transport."""

    def __init__(self, listening: Sequence[socket.socket], config: ReactorConfig) -> None:
        """The sockets are bound; nothing is accepted before `start`."""
        self._clock = config.clock
        self._touched: set[Connection] = set()
        """Those with something to write."""
        self._jobs: deque[Callable[[], object]] = deque()
        """What other threads want done here."""
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
        """Whether a request is coming or under way, or an answer is not with the kernel yet."""
        return any(each.busy for each in self._connections.all())

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    @property
    def refused_connections(self) -> RefusedConnections:
        """Those that there was no room for."""
        return self._acceptor.refused_connections

    def drain(self) -> None:
        """Let nobody in any more, and every stream answer what it has read, and end; ask clients to begin nothing new
        here. See `heard`."""
        self.post(lambda: self._drain.begin(self._clock()))

    @property
    def heard(self) -> bool:
        """Whether all clients have heard that the server drains. Those that have vanished never will."""
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
        """Do this on the reactor's thread: now, if it is this one."""
        if threading.get_ident() == self._thread.ident:
            job()
        else:
            self.post(job)

    def post(self, job: Callable[[], object]) -> None:
        """Do this on the reactor's thread, soon."""
        self._jobs.append(job)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(BlockingIOError, OSError):  # full: it will wake; closed: it has ended
                self._waker.send(b"\0")

    def change(self, connection: Connection, job: Callable[[], object]) -> None:
        """Do this on the reactor's thread, soon, and write what the connection then has to say."""
        self.post(partial(self._change, connection, job))

    # --- On its own thread ------------------------------------------------------------------------------------------

    def touch(self, connection: Connection) -> None:
        """Write what this connection has to say, in this turn."""
        self._touched.add(connection)

    def _change(self, connection: Connection, job: Callable[[], object]) -> None:
        job()
        self.touch(connection)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:  # a fault of ours must not end the thread that serves everybody
                log.exception("a turn of the front met a fault of the server")
                self.post(_nothing)  # what this turn left undone must not wait for the next event
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
        for _ in range(len(self._jobs)):  # not those that come meanwhile: sockets must have their turn
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
        except Exception:  # those behind it, and the answers of this turn, must not be lost
            log.exception("a job of the front met a fault of the server")

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._alarm.recv(4096)
        # After the bytes are gone, else one that comes in between is lost; before the jobs are done, so that a job that
        # comes later wakes us again.
        self._woken = False

    def _timeout(self) -> float | None:
        """How long to wait for events: for ever if nobody could stall, and not at all if there is work."""
        if self._router.has_calls or self._unread:  # calls: a stream went on when its replies were out
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
