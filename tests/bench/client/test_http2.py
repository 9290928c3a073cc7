"""Our own client: against every server of the harness, and what it makes of answers by hand."""

import contextlib
import re
import select
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from grpc import StatusCode
from hpack import Encoder

from skylane.bench.client.connections import Peer
from skylane.bench.client.http2 import CANCELLED, UNKNOWN, Connection, Reply, new_traces
from skylane.bench.client.sending import Order, send
from skylane.bench.servers import KINDS, running
from skylane.bench.workload.models import read
from skylane.bench.workload.payloads import framed
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, Kind, Setting
from support.server import serving

GREETING = frames.settings({Setting.INITIAL_WINDOW_SIZE: 100})
NOT_FOUND = 5


def connection() -> Connection:
    """One whose server has a window of 100 bytes for each stream."""
    made = Connection("here", "/a/b")
    made.out.clear()
    made.feed(GREETING)
    made.out.clear()
    return made


def trailers(stream_id: int, status: int, encoder: Encoder | None = None) -> bytes:
    block = (encoder or Encoder()).encode([("grpc-status", str(status))])
    return frames.frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream_id, block)


def data_in(out: bytearray) -> list[tuple[int, int, int]]:
    """(stream, bytes, flags) of each DATA frame."""
    found, position = [], 0
    while position < len(out):
        high, low, kind, flags, stream_id = frames.read_head(out, position)
        size = high << 8 | low
        if kind == Kind.DATA:
            found.append((stream_id, size, flags))
        position += frames.HEAD_BYTES + size
    return found


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        pytest.param(trailers(1, 0), 0, id="an answer"),
        pytest.param(trailers(1, 8), 8, id="a refusal"),
        pytest.param(frames.reset(1, frames.Code.REFUSED_STREAM), CANCELLED, id="a stream that is reset"),
        pytest.param(frames.frame(Kind.DATA, END_STREAM, 1, b""), UNKNOWN, id="an end without a status"),
    ],
)
def test_what_became_of_a_request(ends: bytes, status: int) -> None:
    client = connection()
    client.send(7, framed(b"x"))
    (reply,) = client.feed(ends)
    assert (reply.tag, reply.status) == (7, status)
    assert not client.in_flight


def test_pieces_of_any_size_are_put_together() -> None:
    client = connection()
    client.send(3, framed(b"x"))
    whole = frames.frame(Kind.DATA, 0, 1, framed(b"answer")) + trailers(1, 0)
    done = [reply for byte in whole for reply in client.feed(bytes((byte,)))]
    assert [(reply.tag, reply.status, reply.body_bytes) for reply in done] == [(3, 0, 11)]


def test_a_server_that_keeps_a_table_of_fields_is_understood() -> None:
    client, encoder = connection(), Encoder()
    found = []
    for tag, status in enumerate((5, 5, 8, 5)):
        client.send(tag, framed(b"x"))
        found += [reply.status for reply in client.feed(trailers(1 + 2 * tag, status, encoder))]
    assert found == [5, 5, 8, 5]


def test_no_more_is_sent_than_the_windows_allow() -> None:
    client = connection()
    client.send(0, b"x" * 150)
    client.send(1, b"y" * 50)
    assert data_in(client.out) == [(1, 100, 0)]
    client.out.clear()
    client.feed(frames.window_update(1, 50))
    assert data_in(client.out) == [(1, 50, END_STREAM), (3, 50, END_STREAM)]


def test_large_bodies_go_in_frames_that_every_peer_takes() -> None:
    client = Connection("here", "/a/b")
    client.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: frames.WINDOW_MAX}) + frames.window_update(0, 2**30))
    client.out.clear()
    client.send(0, b"x" * 40_000)
    assert [size for _, size, _ in data_in(client.out)] == [16_384, 16_384, 7_232]


@pytest.mark.parametrize("kind", ["native", "grpcio", "grpc.aio batching"])
def test_every_server_understands_it(kind: str, small_models: Path, tmp_path: Path) -> None:
    subject = read(small_models)["linear"]
    right = subject.exchange("grpc", 1)
    with running(KINDS[kind], tmp_path, models=small_models) as server:
        server.wait_ready(right)
        wrong = right.body.replace(b"linear", b"nobody")
        bodies, picks = (right.body, wrong), np.array([0, 0, 1, 0])
        log = send(Order(address=server.address, bodies=bodies, connections=2, streams=2, picks=picks), tmp_path)
        due_us = np.array([0, 1000, 1000, 2000])
        order = Order(
            address=server.address, bodies=bodies, connections=1, streams=9, picks=picks, due_us=due_us, timeout_s=30.0
        )
        scheduled = send(order, tmp_path)
    assert log.status.tolist() == scheduled.status.tolist() == [200, 200, NOT_FOUND, 200]
    assert scheduled.start_us.tolist() == due_us.tolist()
    assert (log.took_us > 0).all()


@contextlib.contextmanager
def cut_once(port: int, after_bytes: int) -> Iterator[str]:
    """Address of a relay to the server at that port: the first connection on which so much is asked is closed."""
    once = threading.Lock()

    def pump(source: socket.socket, drain: socket.socket, cuts: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                passed += len(data)
                # Before it is handed on, so that at least one request is never answered.
                if cuts and passed >= after_bytes and once.acquire(blocking=False):
                    break
                drain.sendall(data)
        for each in (source, drain):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                sockets.extend((near, far))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    sockets = list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in sockets:
                each.close()


@pytest.mark.parametrize("scheduled", [pytest.param(True, id="on a schedule"), pytest.param(False, id="closed loop")])
def test_a_closed_connection_costs_what_was_asked_on_it_and_is_made_again(
    scheduled: bool, small_models: Path, tmp_path: Path
) -> None:
    body = read(small_models)["linear"].exchange("grpc", 1).body
    with serving(small_models) as server, cut_once(int(server.address.rpartition(":")[2]), 5000) as address:
        log = send(
            Order(
                address=address, bodies=[body], connections=2, streams=4, picks=np.zeros(400, np.int64),
                due_us=np.arange(400) * 500 if scheduled else None,
            ),
            tmp_path,
        )  # fmt: skip
    assert log.lost == 1
    failed = log.status[~log.ok]
    assert len(log.status) == 400
    assert 0 < len(failed) <= 4, "what was in flight on the one connection"
    assert (failed == StatusCode.UNAVAILABLE.value[0]).all()


def test_each_request_can_have_a_trace_of_its_own_of_which_a_share_is_recorded() -> None:
    traces = list(islice(new_traces(0.5, Random(1)), 200))
    assert len(set(traces)) == 200
    assert all(re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", trace) for trace in traces)
    assert 50 < sum(trace.endswith(b"01") for trace in traces) < 150
    assert not any(trace.endswith(b"01") for trace in islice(new_traces(0.0, Random(1)), 50))


def test_a_trace_is_sent_with_its_request() -> None:
    client = Connection("here", "/a/b", traces=iter([b"first", b"second"]))
    for tag in (0, 1):
        client.out.clear()
        client.send(tag, b"\0\0\0\0\0")
        assert (b"first", b"second")[tag] in client.out


def test_reading_an_answer_allocates_no_more_than_the_answer(small_models: Path, tmp_path: Path) -> None:
    """What a read allocates beyond that may go back to the kernel each time, and that costs more than the read."""
    exchange = read(small_models)["linear"].exchange("grpc", 1)
    with running(KINDS["native"], tmp_path, models=small_models) as server:
        server.wait_ready(exchange)
        peer, replies = Peer(server.address, exchange.path, None), list[Reply]()
        tracemalloc.start()
        try:
            peer.send(0, exchange.body)
            peer.flush()
            while not replies:
                select.select([peer], [], [], 60)
                replies += peer.receive()
            allocated = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            peer.socket.close()
    assert replies[0].status == 0
    assert allocated < 2**17
