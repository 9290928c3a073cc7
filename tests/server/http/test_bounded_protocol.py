"""One connection: what a stranger can do to it, and what everybody's clients do to it without meaning harm."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.types import Receive, Scope, Send

from skylane.server.http.bounded_protocol import HEALTH, RESERVED, Limits
from skylane.server.http.listener import HttpListener

LARGE = b"x" * 50_000_000
"""More than the sockets on the way hold."""


class Echo:
    """Answers each request with its path and the length of its body, or with much."""

    open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        content = LARGE if scope["path"] == "/large" else f"{scope['path']} {size}".encode()
        content = b"reserved" if RESERVED in scope else content
        headers = [(b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@contextmanager
def listening(limits: Limits) -> Iterator[int]:
    """The port of a listener that serves in a thread of its own."""
    ready, ports = threading.Event(), list[int]()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        listener = HttpListener(Echo(), "127.0.0.1", 0, limits=limits)
        await listener.start()
        ports.append(listener.port)
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        ready.set()
        await ended.wait()
        await listener.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0]
    finally:
        stop[0]()
        thread.join(30)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(Limits()) as port:
        yield port


def talk(port: int, *parts: bytes) -> bytes:
    """Everything that the server says until it closes; the last part should make it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass  # it has closed already; what it said is there to read
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    said = b""
    try:
        while part := connection.recv(65536):
            said += part
    except ConnectionResetError:
        pass
    return said


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/a 0"
LAST = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "heard"),
    [
        pytest.param([LAST], [b"/last 0"], id="one request"),
        pytest.param([b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + LAST], [b"/a 0"] * 3 + [b"/last 0"], id="pipelined"),
        pytest.param(
            [
                b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
                b"1\r\nx\r\n" * 50_000,
                b"0\r\n\r\n",
                LAST,
            ],
            [b"/a 50000", b"/last 0"],
            id="a body in chunks of one byte",
        ),
        pytest.param(
            [b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n", b"x" * 1_000_000, LAST],
            [b"/a 1000000", b"/last 0"],
            id="a large body",
        ),
        pytest.param(
            [
                b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
                b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\ncontent-length: 3\r\n\r\nabc",
                LAST,
            ],
            [b"/a 3", b"/last 0"],
            id="an upgrade that is not taken up, as Java's client asks for",
        ),
        pytest.param(
            [
                b"POST /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 3\r\n\r\na",
                b"bc" + LAST,
            ],
            [b"/a 3", b"/last 0"],
            id="an upgrade whose body comes in parts",
        ),
        pytest.param(
            [b"GET /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" * 2000 + LAST],
            [b"/a 0", b"/last 0"],
            id="upgrades without end",
        ),
        pytest.param(
            [b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n", b"abc", LAST],
            [b"100 Continue", b"/a 3", b"/last 0"],
            id="a body that waits to be asked for, as curl does",
        ),
    ],
)
def test_what_is_answered(port: int, parts: list[bytes], heard: list[bytes]) -> None:
    said, place = talk(port, *parts), 0
    for expected in heard:
        place = said.index(expected, place) + len(expected)
    assert said.endswith(heard[-1])


ENDLESS = 100
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "again", "status"),
    [
        pytest.param(b"GET /", b"x" * 65536, b"431", id="a path without end"),
        pytest.param(HEAD, b"a: b\r\n" * 10_000, b"431", id="fields without end"),
        pytest.param(HEAD + b"a: ", b"b" * 65536, b"431", id="one field without end"),
        pytest.param(CHUNKED + b"1;", b"x" * 65536, b"431", id="an extension of a chunk without end"),
        pytest.param(CHUNKED + b"0\r\na: ", b"b" * 65536, b"431", id="a trailer without end"),
        pytest.param(b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100, b"400", id="TLS on a plain port"),
        pytest.param(b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400", id="HTTP/2 by prior knowledge"),
        pytest.param(b"", b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", b"405", id="a proxy is asked for"),
        pytest.param(HEAD + b"content-length: x\r\n\r\n", b"", b"400", id="a length that is none"),
        pytest.param(
            HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"", b"400", id="two lengths at once"
        ),
    ],
)
def test_what_is_refused_and_closed(port: int, begin: bytes, again: bytes, status: bytes) -> None:
    said = talk(port, begin, *[again] * ENDLESS)
    assert said == b"" or said.startswith(b"HTTP/1.1 " + status), "the refusal may be lost with what was still sent"
    assert talk(port, LAST).endswith(b"/last 0"), "others are served"


def test_a_newcomer_takes_the_place_of_who_has_rested_longest() -> None:
    with (
        listening(Limits(connections=2)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as first,
        socket.create_connection(("127.0.0.1", port), timeout=30) as second,
    ):
        for each in (first, second):
            each.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            assert each.makefile("rb").read(len(ANSWER)) == ANSWER
        assert talk(port, LAST).endswith(b"/last 0")
        assert rest(first) == b""
        second.sendall(LAST)
        assert rest(second).endswith(b"/last 0")


SLOW = HEAD + b"expect: 100-continue\r\ncontent-length: 10\r\n\r\n"


def test_a_connection_too_many_hears_of_health_alone(caplog: pytest.LogCaptureFixture) -> None:
    """All places are taken by requests that do not end."""
    with listening(Limits(connections=2)) as port:
        held = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(2)]
        for each in held:
            each.sendall(SLOW)
            assert each.recv(12) == b"HTTP/1.1 100"
        for path in HEALTH:
            assert talk(port, LAST.replace(b"/last", path.encode())).endswith(b"reserved")
        assert caplog.text == ""
        assert talk(port, LAST).endswith(b"reserved")
        assert "the http port has 2 connections" in caplog.text
        for each in held:
            each.close()


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="empty lines"),
        pytest.param(b"GET / HT", id="half a line"),
        pytest.param(HEAD, id="half a head"),
        pytest.param(HEAD + b"content-length: 10\r\n\r\n12345", id="half a body"),
        pytest.param(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD, id="half a second request"),
    ],
)
def test_who_sends_only(begun: bytes) -> None:
    """Is cut off after a time, which is short here."""
    with (
        listening(Limits(request_s=0.05, idle_s=60)) as port,
        socket.create_connection(("127.0.0.1", port), 30) as slow,
    ):
        slow.sendall(begun)
        assert rest(slow).count(b"/a 0") == begun.count(b" /a")


def test_who_rests_between_requests_is_cut_off_after_a_longer_time() -> None:
    with listening(Limits(request_s=60, idle_s=0)) as port, socket.create_connection(("127.0.0.1", port), 30) as idle:
        idle.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        assert rest(idle).endswith(b"/a 0")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system does not count what peers take")
def test_who_never_reads_an_answer_is_cut_off() -> None:
    """Seen by the next connection: there is room for one alone."""
    with listening(Limits(unread_s=0.1, connections=1)) as port, socket.create_connection(("127.0.0.1", port)) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        assert deaf.recv(1) == b"H"
        while not talk(port, LAST).endswith(b"/last 0"):
            pass
