"""The reactor on real sockets: many clients, slow and misbehaving ones, none of which may disturb another."""

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import Code, Kind, Setting
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.receiving_stream import StreamHandler
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.native.config import ReactorConfig
from skylane.server.grpc.native.reactor import Reactor
from skylane.server.host.addresses import bind
from support.h2 import HOT, Client, Frame, RecordedStream, frames_in, message

PATIENCE_S = 30.0
"""How long a test waits for what must come."""


class Echo:
    """Answers with the request, repeated as often as configured; while it is held, later."""

    def __init__(self) -> None:
        self.times = 1
        self.is_held = False
        self.arrived = threading.Semaphore(0)
        self.kept: list[tuple[Sink, Sequence[Call], list[bytes]]] = []

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """See BatchedMethod."""
        replies = [payload * self.times for payload in payloads]
        if self.is_held:
            self.kept.append((sink, calls, replies))
        else:
            sink.answer(calls, replies)
        self.arrived.release()

    def too_large(self, size: int) -> MessageTooLarge:
        """See BatchedMethod."""
        return MessageTooLarge(f"{size} bytes")


class Clock:
    """Stands still until a test moves it; asked by the reactor's thread."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Served:
    """A reactor and what it serves."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] | None = None) -> None:
        self.echo = Echo()
        bound = bind("127.0.0.1", 0)
        self.port = bound.port
        more: dict[str, Any] = {} if clock is None else {"clock": clock}
        config = ReactorConfig(method_handlers={HOT: self.echo}, open_stream=_tunnel, limits=limits or Limits(), **more)
        self.reactor = Reactor(bound.sockets, config)

    def turn(self) -> None:
        """Return when the reactor has finished a turn of its loop that began after this call."""
        for _ in range(2):
            done = threading.Event()
            self.reactor.post(done.set)
            assert done.wait(PATIENCE_S)


def _tunnel(connection: Connection, stream_id: int, headers: RequestHeaders) -> StreamHandler:
    return RecordedStream(stream_id, headers)


@contextlib.contextmanager
def serving(limits: Limits | None = None, clock: Callable[[], float] | None = None) -> Iterator[Served]:
    served = Served(limits, clock)
    served.reactor.start()
    try:
        yield served
    finally:
        closing = threading.Thread(target=served.reactor.close)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive(), "the front does not close"


class Wire(Client):
    """A client with a socket."""

    def __init__(self, port: int, hello: bytes = Client.PREFACE, receive_bytes: int = 0) -> None:
        super().__init__()
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self._rest = b""
        self.socket.sendall(hello)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send to the reactor."""
        self.socket.sendall(data)

    def next(self) -> Frame:
        """The next frame from the reactor. Raises ConnectionError at the end."""
        while True:
            if len(self._rest) >= frames.HEAD_BYTES:
                end = frames.HEAD_BYTES + int.from_bytes(self._rest[:3])
                if len(self._rest) >= end:
                    (frame,), self._rest = frames_in(self._rest[:end]), self._rest[end:]
                    return frame
            data = self.socket.recv(2**16)
            if not data:
                raise ConnectionError("the front has hung up")
            self._rest += data

    def until(self, kind: Kind) -> Frame:
        """The next frame of this kind."""
        while (frame := self.next()).kind != kind:
            pass
        return frame

    def reply(self) -> bytes:
        """The next whole message; its windows are wide enough."""
        content = self.until(Kind.DATA).payload
        while len(content) < 5 + int.from_bytes(content[1:5]):
            content += self.until(Kind.DATA).payload
        return content[5:]

    def everything(self) -> bytes:
        """All bytes until the reactor closes the connection."""
        found = self._rest
        while data := self.socket.recv(2**16):
            found += data
        return found


def wide() -> bytes:
    """The greeting of a client with windows of 2 GB."""
    window = frames.settings({Setting.INITIAL_WINDOW_SIZE: frames.WINDOW_MAX})
    return frames.PREFACE + window + frames.window_update(0, frames.WINDOW_MAX - frames.WINDOW_DEFAULT)


def test_a_request_byte_by_byte() -> None:
    with serving() as served, Wire(served.port, b"") as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in Client.PREFACE + wire.request(1, b"slowly"):
            wire.send(bytes([byte]))
        assert wire.reply() == b"slowly"


def test_a_client_that_never_reads_holds_up_nobody_and_is_not_read() -> None:
    limits = Limits(unread_bytes=2**20)
    with serving(limits) as served, Wire(served.port, wide(), receive_bytes=4096) as rude, Wire(served.port) as kind:
        served.echo.times = 1000
        rude.socket.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            for stream_id in range(1, 10**6, 2):
                sent += rude.socket.send(rude.request(stream_id, bytes(1000)))
                assert sent < 64 * 2**20, "it is read for ever"
                if not stream_id % 63:
                    served.turn()
        served.echo.times = 1
        kind.send(kind.request(1, b"polite"))
        assert kind.reply() == b"polite"


def test_a_client_that_reads_late_gets_everything() -> None:
    """Also what was held back behind its backlog, although it sends no more windows."""
    with serving(Limits(unread_bytes=2**18)) as served, Wire(served.port, wide(), receive_bytes=4096) as wire:
        served.echo.times = 1000
        for stream_id in range(1, 100, 2):
            wire.send(wire.request(stream_id, b"x" * 1000))
        for _ in range(50):
            assert wire.reply() == b"x" * 10**6


def test_a_large_message_both_ways() -> None:
    content = bytes(range(250)) * 40_000
    with serving() as served, Wire(served.port, wide()) as wire:
        sending = threading.Thread(
            target=wire.send, args=(wire.head(1) + wire.data(1, message(content)[: 2**20], ends=False),)
        )
        sending.start()
        rest = message(content)[2**20 :]
        grown = wire.until(Kind.WINDOW_UPDATE)
        while grown.stream_id != 1:
            grown = wire.until(Kind.WINDOW_UPDATE)
        sending.join()
        assert grown.number == len(rest) + 1, "and a byte behind it, see Request.refill"
        wire.send(wire.data(1, rest))
        assert wire.reply() == content


def test_more_connections_than_allowed() -> None:
    with serving(Limits(connections=2)) as served, Wire(served.port) as first, Wire(served.port) as second:
        for wire in (first, second):
            wire.send(wire.request(1))
            assert wire.reply() == b"request"
        with Wire(served.port, b"") as third:
            assert third.everything() == b""
        assert (served.reactor.connections, served.reactor.refused_connections.refused) == (2, 1)
        first.socket.close()
        served.turn()
        with Wire(served.port) as fourth:
            fourth.send(fourth.request(1))
            assert fourth.reply() == b"request"


def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Accepting pauses, those who are here are served, and it goes on by itself."""
    served = Served()
    (listening,), missing = served.reactor._acceptor._listening, 3

    class Poor:
        def accept(self) -> tuple[socket.socket, object]:
            nonlocal missing
            if missing:
                missing -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return listening.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(listening, name)

    monkeypatch.setattr("skylane.server.grpc.native.open_connections.CHECK_S", 0.01)
    monkeypatch.setattr(served.reactor._acceptor, "_listening", (Poor(),))
    served.reactor.start()
    with caplog.at_level(logging.WARNING), Wire(served.port) as wire:
        wire.send(wire.request(1))
        assert wire.reply() == b"request"
    assert [record.getMessage() for record in caplog.records] == [
        "no connection can be accepted for now: Too many open files"
    ] * 3
    served.reactor.close()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n", id="GET"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: 400000\r\n\r\n" + bytes(400_000), id="a large POST"),
    ],
)
def test_a_client_of_http_1(said: bytes) -> None:
    with serving() as served, Wire(served.port, said) as wire:
        answer = wire.everything().decode()
        assert answer.startswith("HTTP/1.1 505 HTTP Version Not Supported\r\n")
        assert answer.endswith("This port speaks gRPC, which is HTTP/2.\n")


def test_a_broken_rule_is_named_before_the_end() -> None:
    with serving() as served, Wire(served.port) as wire:
        wire.send(wire.data(1, b"x") + bytes(200_000))
        goodbye = wire.until(Kind.GOAWAY)
        assert int.from_bytes(goodbye.payload[4:8]) == Code.PROTOCOL_ERROR
        assert b"DATA on stream 1, which has not begun" in goodbye.payload
        assert wire.everything() == b""


def test_many_threads_post_at_once() -> None:
    """Every job runs, and runs soon: the last thread to post is never left waiting."""
    with serving() as served:

        def post(job: Callable[[], None]) -> None:
            for _ in range(20):
                served.reactor.post(job)

        for _ in range(50):
            done = threading.Semaphore(0)
            threads = [threading.Thread(target=post, args=(done.release,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for _ in range(160):
                assert done.acquire(timeout=PATIENCE_S), "a job was lost"
            for thread in threads:
                thread.join()


def test_a_job_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("on purpose")

    with serving() as served:
        done, held = threading.Event(), threading.Event()
        served.reactor.post(lambda: held.wait(PATIENCE_S))
        for job in (fails, fails, done.set):
            served.reactor.post(job)
        held.set()
        assert done.wait(PATIENCE_S)
    assert [record.message for record in caplog.records] == ["a job of the reactor failed with an internal error"] * 2


def test_an_intake_that_fails_does_not_end_the_front(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as served, Wire(served.port) as wire, monkeypatch.context() as broken:
        failed = threading.Event()

        def fails(*_: object) -> None:
            failed.set()
            raise RuntimeError("on purpose")

        broken.setattr(served.echo, "take", fails)
        wire.send(wire.request(1))
        assert failed.wait(PATIENCE_S)
        broken.undo()
        wire.send(wire.request(3, b"still here"))
        assert wire.reply() == b"still here"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("said", "is_closed"),
    [
        pytest.param(b"", True, id="says nothing"),
        pytest.param(Client.PREFACE[:10], True, id="half a greeting"),
        pytest.param(Client.PREFACE, False, id="idle, but polite"),
        pytest.param(Client.PREFACE + Client().head(1), True, id="a head and no message"),
        pytest.param(Client.PREFACE + Client().request(1)[:-3], True, id="most of a request"),
    ],
)
def test_clients_that_stall(said: bytes, is_closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylane.server.grpc.native.open_connections.CHECK_S", 0.01)
    clock = Clock()
    with serving(Limits(stalled_s=60), clock) as served, Wire(served.port, said) as wire, Wire(served.port) as other:
        other.send(other.request(1))
        assert other.reply() == b"request"
        for clock.now in range(1, 70):
            other.send(other.request(2 * clock.now + 1))
            assert other.reply() == b"request"
            served.turn()
        if is_closed:
            wire.everything()
        else:
            wire.send(wire.request(1))
            assert wire.reply() == b"request"


def test_a_client_that_hangs_up_its_half() -> None:
    with serving() as served, Wire(served.port) as wire:
        served.echo.is_held = True
        wire.send(wire.request(1))
        assert served.echo.arrived.acquire(timeout=PATIENCE_S)
        wire.socket.shutdown(socket.SHUT_WR)
        wire.everything()
        ((sink, calls, replies),) = served.echo.kept
        assert [call.cancelled for call in calls] == [True]
        sink.answer(calls, replies)
        served.turn()


def test_draining_lets_what_is_in_flight_finish() -> None:
    with serving() as served, Wire(served.port) as wire:
        served.echo.is_held = True
        wire.send(wire.request(1, b"early"))
        assert served.echo.arrived.acquire(timeout=PATIENCE_S)
        served.reactor.drain()
        assert wire.until(Kind.GOAWAY).payload == b"\x7f\xff\xff\xff" + bytes(4)
        wire.send(wire.request(3, b"on its way"))
        assert served.echo.arrived.acquire(timeout=PATIENCE_S)
        was_busy = served.reactor.busy
        for sink, calls, replies in served.echo.kept:
            sink.answer(calls, replies)
        assert [wire.reply(), wire.reply()] == [b"early", b"on its way"]
        served.turn()
        assert (was_busy, served.reactor.busy) == (True, False)
        served.reactor.close()
        assert wire.until(Kind.GOAWAY).payload == b"\0\0\0\3" + bytes(4)


def test_who_has_heard_that_the_front_drains_gets_nothing_new_in() -> None:
    with serving() as served, Wire(served.port) as wire:
        wire.send(wire.request(1))
        assert wire.reply() == b"request"
        served.reactor.drain()
        asked = wire.until(Kind.PING)
        served.turn()
        had_heard = served.reactor.heard
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port))
        wire.send(wire.request(3, b"on its way") + frames.frame(Kind.PING, frames.ACK, 0, asked.payload))
        assert wire.until(Kind.GOAWAY).payload == b"\0\0\0\3" + bytes(4)
        assert wire.reply() == b"on its way"
        served.turn()
        assert (had_heard, served.reactor.heard) == (False, True)
        wire.send(wire.request(5, b"too late"))
        refused = wire.until(Kind.RST_STREAM)
        assert (refused.stream_id, refused.number) == (5, frames.Code.REFUSED_STREAM)


def test_who_has_connected_when_the_front_drains_is_served_and_told() -> None:
    with serving() as served, Wire(served.port, hello=b"") as wire:
        served.reactor.drain()
        served.turn()
        assert not served.reactor.heard
        wire.send(Client.PREFACE + wire.request(1))
        assert wire.until(Kind.GOAWAY).payload == b"\x7f\xff\xff\xff" + bytes(4)
        assert wire.reply() == b"request"


@pytest.mark.parametrize("answers", [pytest.param(True, id="heard at once"), pytest.param(False, id="never answers")])
def test_a_connection_that_is_old_ends_when_nothing_is_under_way(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylane.server.grpc.native.open_connections.CHECK_S", 0.01)
    clock = Clock()
    with serving(Limits(connection_age_s=100), clock) as served, Wire(served.port) as wire:
        wire.send(wire.request(1))
        assert wire.reply() == b"request"
        clock.now = 89.0
        wire.send(wire.request(3))
        assert wire.reply() == b"request", "young enough"
        served.echo.is_held = True
        wire.send(wire.request(5, b"under way"))
        assert served.echo.arrived.acquire(timeout=PATIENCE_S)
        clock.now = 111.0
        served.turn()
        assert wire.until(Kind.GOAWAY).payload == b"\x7f\xff\xff\xff" + bytes(4)
        wire.send(wire.request(7, b"on its way"))
        if answers:
            wire.send(frames.frame(Kind.PING, frames.ACK, 0, wire.until(Kind.PING).payload))
        while len(served.echo.kept) < 2:
            assert served.echo.arrived.acquire(timeout=PATIENCE_S)
        clock.now = 112.0 if answers else 111.0 + Limits().stalled_s
        served.turn()
        assert wire.until(Kind.GOAWAY).payload == b"\0\0\0\7" + bytes(4)
        for sink, calls, replies in served.echo.kept:
            sink.answer(calls, replies)
        assert [wire.reply(), wire.reply()] == [b"under way", b"on its way"]
        clock.now += 2
        served.turn()
        (end,) = frames_in(wire.everything())
        assert end.ends, "of the last answer, and behind it the connection's"


def test_connections_grow_old_under_a_client_that_notices_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylane.server.grpc.native.open_connections.CHECK_S", 0.001)
    with serving(Limits(connection_age_s=0.01)) as served, grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        ask: Any = channel.unary_unary(HOT)
        seen = set[object]()
        while len(seen) < 5:
            calls = [ask.future(b"%d" % number) for number in range(20)]
            assert [call.result(PATIENCE_S) for call in calls] == [b"%d" % number for number in range(20)]
            seen |= set(served.reactor._connections.all())


def test_a_front_that_was_never_started_closes() -> None:
    served = Served()
    for _ in range(2):
        served.reactor.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port))
