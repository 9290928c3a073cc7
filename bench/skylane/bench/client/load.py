"""Sends requests and records what becomes of each: over gRPC by `skylane.bench.client.http2`, over HTTP/1.1 by a
thread for
each request in flight. Run as a process of its own by `skylane.bench.client.sending`.

Our own, since h2load has no schedule, sends one request over and over, and cannot tell a refusal from an answer.
"""

import http.client
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.client.connections import Peer, Peers
from skylane.bench.client.http2 import Reply
from skylane.bench.client.pacing import Pacer

OK: Final = 200
NO_REPLY: Final = 4
"""Status of a request that was never answered: DEADLINE_EXCEEDED, as a client's own deadline has it."""
PATIENCE_S: Final = 20.0
"""Longest that nothing comes before the rest counts as unanswered."""
UNAVAILABLE: Final = 14
"""Status of a request whose connection the server closed, as gRPC's own clients have it."""
RECONNECT_POLL_S: Final = 0.01
"""How often to check whether a connection has been made again."""
CONNECTIONS_MAX: Final = 1000
"""select(2) waits for at most 1024 files. What waits for more counts in whole milliseconds, and would send too late."""
Line = tuple[int, int, int]


class Budget:
    """Counts down the requests that are still to be sent."""

    def __init__(self, requests: int) -> None:
        self._left, self._lock = requests, threading.Lock()

    def take(self) -> bool:
        """Whether one more may be sent."""
        with self._lock:
            self._left -= 1
            return self._left >= 0


class GrpcLoad:
    """Sends requests and notes what becomes of them. Times are microseconds since it began."""

    def __init__(
        self,
        peers: Peers,
        bodies: Sequence[bytes],
        order: NDArray[np.int64],
        progress: NDArray[np.int64] | None = None,
    ) -> None:
        """`order`: for each request, the place of its body. `progress` is kept at (sent, answered, ended otherwise)."""
        self._peers, self._bodies, self._order = peers, bodies, order
        count = len(order)
        self._sent = 0
        self._open = count
        self._began_ns, self.began_at_us = time.perf_counter_ns(), time.time_ns() // 1000
        self.due_us = np.zeros(count, np.int64)
        """When each was sent, or should have been."""
        self.late_us = np.zeros(0, np.int64)
        """On a schedule: how late each was sent for which the server had room."""
        self.sent_us, self.took_us = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.status = np.full(count, NO_REPLY, np.int64)
        self.body_bytes = 0
        self._progress, self._failed = progress, 0

    def closed(self, streams: int) -> None:
        """Keep so many in flight on each connection until all are answered."""
        for _ in range(streams):
            for peer in self._peers.ready:
                self._send(peer)
        while self._open and self._receive(PATIENCE_S, again=True):
            for peer in self._peers.arrived():
                for _ in range(streams):
                    self._send(peer)

    def on_schedule(self, due_us: NDArray[np.int64], streams_max: int) -> None:
        """Send each at its instant, whether or not others were answered; latency counts from that instant."""
        self.due_us, pacer = due_us, Pacer(due_us.tolist())
        while self._open:
            now_us = self._now_us()
            while pacer.is_due(now_us):
                peer = min(self._peers.ready, key=_load, default=None)
                if peer is None or len(peer.in_flight) >= streams_max:
                    pacer.hold()
                    break
                pacer.take(now_us)
                self._send(peer)
            wait_us = pacer.wait_us(self._now_us())
            came = self._receive(PATIENCE_S if wait_us is None else wait_us / 1e6, again=False)
            self._peers.arrived()
            if not came and wait_us is None:
                break
        self.late_us = pacer.late_us(self.sent_us)

    def _now_us(self) -> int:
        return (time.perf_counter_ns() - self._began_ns) // 1000

    def _send(self, peer: Peer) -> None:
        if self._sent < len(self._order):
            tag = self._sent
            self._sent += 1
            self.sent_us[tag] = self._now_us()
            peer.send(tag, self._bodies[self._order[tag]])

    def _receive(self, wait_s: float, *, again: bool) -> bool:
        """Write, wait, read; `again`: send one for each that was answered. Whether anything came."""
        peers = self._peers
        for peer in [*peers.all]:
            self._guard(peer, peer.flush)
        peers_, missing = peers.all, peers.missing
        if not peers_ and not missing:
            self._fail_rest()
            return False
        wanted = [peer for peer in peers_ if peer.out]
        readable, writable, _ = select.select(peers_, wanted, [], min(wait_s, RECONNECT_POLL_S) if missing else wait_s)
        for peer in readable:
            self._guard(peer, partial(self._read, peer, again=again))
        if self._progress is not None:
            ended = len(self._order) - self._open
            self._progress[:] = self._sent, ended - self._failed, self._failed
        return bool(readable or writable or missing)

    def _read(self, peer: Peer, *, again: bool) -> None:
        replies = peer.receive()
        if peer.closing and peer in self._peers.ready:
            self._peers.leave(peer)
            again = False
        self._end(replies)
        if again and not peer.closing:
            for _ in replies:
                self._send(peer)
        if peer.closing and not peer.in_flight:
            self._peers.close(peer)

    def _guard(self, peer: Peer, work: Callable[[], None]) -> None:
        """Read or write; if the server has gone, what was sent there has failed."""
        try:
            work()
        except OSError:
            self._end([replace(reply, status=UNAVAILABLE) for reply in self._peers.close(peer)])

    def _end(self, replies: Sequence[Reply]) -> None:
        now_us = self._now_us()
        for reply in replies:
            self.took_us[reply.tag] = now_us
            self.status[reply.tag] = reply.status or OK
            self._failed += reply.status != 0
            self.body_bytes += reply.body_bytes
        self._open -= len(replies)

    def _fail_rest(self) -> None:
        """The server has gone for good: all the rest has failed."""
        self.status[self.took_us == 0] = UNAVAILABLE
        self._failed += self._open
        self._open = 0

    def lines(self, *, scheduled: bool) -> list[Line]:
        """The log. What was never answered took until now."""
        start_us = self.due_us if scheduled else self.sent_us
        took_us = np.maximum(np.where(self.took_us > 0, self.took_us, self._now_us()) - start_us, 0)
        began_at_us = self.began_at_us
        log = zip(start_us.tolist(), self.status.tolist(), took_us.tolist(), strict=True)
        return [(began_at_us + at, status, took) for at, status, took in log]


def _load(peer: Peer) -> int:
    return len(peer.in_flight)


def over_http(address: str, path: str, body: bytes, requests: int, in_flight: int) -> tuple[list[Line], int]:
    """Send all, by a thread and a connection for each request in flight. Returns the log and the bytes of bodies."""
    budget, lines, sizes, failed = Budget(requests), list[Line](), list[int](), list[Exception]()

    def send() -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        try:
            while not failed and budget.take():
                at, started = time.time_ns() // 1000, time.perf_counter_ns()
                connection.request("POST", path, body, {"content-type": "application/json"})
                response = connection.getresponse()
                sizes.append(len(response.read()))
                lines.append((at, response.status, (time.perf_counter_ns() - started) // 1000))
        except (OSError, http.client.HTTPException) as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sorted(lines), sum(sizes)
