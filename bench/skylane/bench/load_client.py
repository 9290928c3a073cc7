"""A load generator in Python, for machines without h2load, and for what h2load cannot do: `python -m
skylane.bench.load_client
--help`. It sends on a schedule, sends different requests, and counts refusals.

`skylane.bench.http2` for gRPC, a thread per request in flight for HTTP/1.1. Its output is what
`skylane.bench.generator` reads: a log
of (start, status, duration) in microseconds, status 200 for an answer and gRPC's own for anything else; and on stdout,
as JSON, the bytes of all replies' bodies, how late it was against its schedule, and what CPU it used while it sent.
"""

import argparse
import gc
import http.client
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.access import Access
from skylane.bench.figures import percentile
from skylane.bench.http2 import Reply
from skylane.bench.pacing import Pacer
from skylane.bench.peers import Peer, Peers

OK: Final = 200
NO_REPLY: Final = 4
"""Status of a request that was never answered: DEADLINE_EXCEEDED, as a client's own deadline has it."""
PATIENCE_S: Final = 20.0
"""Longest that nothing comes before the rest counts as unanswered."""
UNAVAILABLE: Final = 14
"""Status of a request whose connection the server closed, as gRPC's own clients have it."""
LOOK_S: Final = 0.01
"""How often it is looked whether a connection has been made again."""
CONNECTIONS_MAX: Final = 1000
"""It looks at 1024 files at most. What could look at more waits for whole milliseconds, and would send too late."""
TOKEN: Final = "SKYLANE_TOKEN"
"""Variable of the environment: arguments can be read by everybody on a machine."""
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
        told: NDArray[np.int64] | None = None,
    ) -> None:
        """`order`: for each request, the place of its body. `told` is kept at (sent, answered, ended otherwise)."""
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
        self._told, self._failed = told, 0

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
        """Send each at its instant, whatever became of the others; latencies are counted from that instant."""
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
            self._heard(peer, peer.flush)
        everybody, missing = peers.all, peers.missing
        if not everybody and not missing:
            self._nobody()
            return False
        wanted = [peer for peer in everybody if peer.out]
        readable, writable, _ = select.select(everybody, wanted, [], min(wait_s, LOOK_S) if missing else wait_s)
        for peer in readable:
            self._heard(peer, partial(self._read, peer, again=again))
        if self._told is not None:
            ended = len(self._order) - self._open
            self._told[:] = self._sent, ended - self._failed, self._failed
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

    def _heard(self, peer: Peer, work: Callable[[], None]) -> None:
        """Do it; if the server has gone, what was asked there has failed."""
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

    def _nobody(self) -> None:
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


def over_grpc(options: argparse.Namespace, bodies: Sequence[bytes]) -> tuple[list[Line], dict[str, float]]:
    """Send all. Returns the log, and what `main` tells of it."""
    order = np.zeros(options.requests, np.int64) if options.order is None else np.load(options.order)
    context = Access(tls=options.tls, ca=options.tls_ca).context()
    token = os.environ.get(TOKEN, "")
    peers = Peers(partial(Peer, options.address, options.path, options.timeout_s, token, context), options.connections)
    scheduled = options.schedule is not None
    cpu_s = time.process_time()
    told = None if options.progress is None else np.memmap(options.progress, np.int64, "r+", shape=(3,))
    load = GrpcLoad(peers, bodies, order, told)
    try:
        if scheduled:
            load.on_schedule(np.load(options.schedule), options.streams)
        else:
            load.closed(options.streams)
    finally:
        peers.end()
    cpu_s = time.process_time() - cpu_s
    late_us = percentile(load.late_us, 0.99) if len(load.late_us) else 0.0
    said = {
        "body_bytes": load.body_bytes,
        "late_us": late_us,
        "cpu_s": cpu_s,
        "lost": peers.lost,
        "began_at_s": load.began_at_us / 1e6,
    }
    return load.lines(scheduled=scheduled), said


def over_http(options: argparse.Namespace, body: bytes) -> tuple[list[Line], int]:
    """Send all, by one thread and connection for each request in flight."""
    budget, lines, sizes, failed = Budget(options.requests), list[Line](), list[int](), list[Exception]()

    def send() -> None:
        connection = http.client.HTTPConnection(options.address, timeout=30)
        try:
            while not failed and budget.take():
                at, started = time.time_ns() // 1000, time.perf_counter_ns()
                connection.request("POST", options.path, body, {"content-type": "application/json"})
                response = connection.getresponse()
                sizes.append(len(response.read()))
                lines.append((at, response.status, (time.perf_counter_ns() - started) // 1000))
        except (OSError, http.client.HTTPException) as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(options.connections * options.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return lines, sum(sizes)


def main(argv: Sequence[str] | None = None) -> int:
    """Send the load. Returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.connections > CONNECTIONS_MAX:
        parser.error(f"--connections: at most {CONNECTIONS_MAX}, which is as many as select(2) can wait for")
    try:
        return _send(options)
    except OSError as error:
        print(f"{options.address}: {error.strerror or error}", file=sys.stderr)
        return 1


def _send(options: argparse.Namespace) -> int:
    gc.disable()  # nothing here refers to itself, and a collection makes requests late
    said: dict[str, float]
    if options.protocol == "grpc":
        lines, said = over_grpc(options, _bodies(options.body, options.body_sizes))
    else:
        lines, body_bytes = over_http(options, options.body.read_bytes())
        said = {"body_bytes": body_bytes}
    options.log_file.write_text("".join(f"{at}\t{status}\t{took}\n" for at, status, took in lines))
    print(json.dumps(said))
    return 0


def _bodies(path: Path, sizes: Path | None) -> list[bytes]:
    content = path.read_bytes()
    if sizes is None:
        return [content]
    ends = np.cumsum(np.load(sizes)).tolist()
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.load_client", description="Send load, and log every reply."
    )
    add = parser.add_argument
    add("--address", required=True, help="host:port")
    add("--protocol", choices=("grpc", "http"), required=True)
    add("--path", required=True)
    add("--body", type=Path, required=True, help="file with the request's body, framed for gRPC")
    add("--body-sizes", type=Path, help="numpy file: bytes of each body, where the file has several (gRPC)")
    add("--order", type=Path, help="numpy file: for each request, which of the bodies (gRPC; default: the first)")
    add(
        "--schedule",
        type=Path,
        help="numpy file: for each request, microseconds from the start until it is sent (gRPC)",
    )
    add("--progress", type=Path, help="file of three 64-bit numbers: requests sent, answered, ended otherwise (gRPC)")
    add("--timeout-s", type=float, help="deadline that the server is told (gRPC)")
    add("--tls", action="store_true", help="connect with TLS (gRPC); a bearer token comes from " + TOKEN)
    add("--tls-ca", type=Path, help="trust the certificates in this PEM file")
    add("--connections", type=int, required=True)
    add("--streams", type=int, required=True, help="requests in flight on each connection; on a schedule, at most")
    add("--requests", type=int, default=0, help="how many, where there is no --order")
    add("--log-file", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
