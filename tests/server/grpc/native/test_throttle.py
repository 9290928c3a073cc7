"""Peers that flood share a part of the reactor's time, also when they come back; nobody else waits for them."""

import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import Code, Kind
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.open_connections import OpenConnections
from skylane.server.grpc.native.peer_socket import READ_BYTES
from skylane.server.grpc.native.poller import READ, Selector
from skylane.server.grpc.native.reactor import TURN_S, Reactor
from skylane.server.grpc.native.socket_connection import READ_BYTES_MIN, SocketConnection
from skylane.server.grpc.native.throttle import (
    BURST_S,
    OFFENCE_S,
    OFFENCES_MAX,
    SOURCES_MAX,
    THROTTLED_SHARE,
    Offenders,
    Throttle,
    source_of,
)
from support.h2 import STREAMED, Client, Ours

PING = frames.frame(Kind.PING, 0, 0, bytes(8))

# --- The time that floods get -----------------------------------------------------------------------------------------


def test_throttled_connections_together_use_their_share_of_the_time() -> None:
    throttle, now, used, read_s = Throttle(), 0.0, 0.0, 3e-3
    while now < 10.0:
        if throttle.is_open(now):
            throttle.spend(read_s)
            used, now = used + read_s, now + read_s
        else:
            assert throttle.opens_at > now
            now = throttle.opens_at
    assert used == pytest.approx(10.0 * THROTTLED_SHARE, abs=2 * BURST_S)


def test_a_long_rest_gives_no_more_than_a_burst() -> None:
    throttle = Throttle()
    assert throttle.is_open(1000.0)
    throttle.spend(BURST_S)
    assert not throttle.is_open(1000.0)


# --- Who is known for it ----------------------------------------------------------------------------------------------


def test_an_address_is_known_after_a_few_offences_and_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    offenders = Offenders()
    with caplog.at_level(logging.WARNING):
        for second in range(OFFENCES_MAX + 2):
            assert offenders.includes("10.0.0.1", second) is (second >= OFFENCES_MAX)
            offenders.add("10.0.0.1", second)
    assert not offenders.includes("10.0.0.2", 5.0)
    assert not offenders.includes("10.0.0.1", 5.0 + OFFENCE_S)
    (line,) = caplog.messages
    assert line.startswith("3 connections from 10.0.0.1 were ended within 60 s because they flooded")


def test_offences_that_are_far_apart_are_no_flood() -> None:
    offenders = Offenders()
    for times in range(20):
        offenders.add("10.0.0.1", times * OFFENCE_S)
        assert not offenders.includes("10.0.0.1", times * OFFENCE_S)


def test_the_addresses_remembered_are_bounded() -> None:
    offenders = Offenders()
    for number in range(2 * SOURCES_MAX):
        for _ in range(OFFENCES_MAX):
            offenders.add(f"address {number}", 0.0)
    assert len(offenders._offences) == SOURCES_MAX
    assert offenders.includes(f"address {2 * SOURCES_MAX - 1}", 0.0)
    assert not offenders.includes("address 0", 0.0)


@pytest.mark.parametrize(
    ("family", "address", "source"),
    [
        pytest.param(socket.AF_INET, ("10.1.2.3", 5), "10.1.2.3", id="an IPv4 address"),
        pytest.param(
            socket.AF_INET6, ("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64", id="the network of an IPv6 address"
        ),
        pytest.param(socket.AF_INET6, ("fe80::1%eth0", 5, 0, 2), "fe80::/64", id="an IPv6 address with a scope"),
        pytest.param(socket.AF_UNIX, "", "", id="none of a Unix domain socket"),
    ],
)
def test_where_a_connection_comes_from(family: int, address: object, source: str) -> None:
    assert source_of(family, address) == source


def test_peers_without_an_address_are_not_known() -> None:
    offenders = Offenders()
    for _ in range(2 * OFFENCES_MAX):
        offenders.add("", 0.0)
    assert not offenders.includes("", 0.0)


# --- What a connection is taken for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "is_proven", "is_flooding"),
    [
        pytest.param(b"", False, False, id="nothing yet"),
        pytest.param(Client().request(1), True, False, id="a request"),
        pytest.param(Client().request(1) + PING, False, False, id="a request, then a ping"),
        pytest.param(PING + Client().request(1), True, False, id="a ping, then a request"),
        pytest.param(PING * 101, False, True, id="a tenth of the pings that end it"),
        pytest.param(PING * 90 + Client().request(1), True, False, id="as many pings as a request makes up for"),
        pytest.param(
            b"".join(Client().head(n, STREAMED) + frames.reset(n, Code.CANCEL) for n in range(1, 25, 2))
            + Client().request(25),
            False,
            True,
            id="calls given up, for which no request makes up",
        ),
    ],
)
def test_what_a_connection_is_taken_for(said: bytes, is_proven: bool, is_flooding: bool) -> None:
    ours = Ours(Limits(idle_frames=1000, abandoned=100))
    ours.feed(said)
    assert (ours.connection.is_proven, ours.connection.is_flooding) == (is_proven, is_flooding)


# --- Connections ------------------------------------------------------------------------------------------------------


class Events:
    """A poller that only notes for what is asked."""

    def __init__(self) -> None:
        self.wanted: dict[int, int] = {}

    def register(self, fd: int, eventmask: int) -> None:
        """See Poller."""
        self.wanted[fd] = eventmask

    modify = register

    def unregister(self, fd: int) -> None:
        """See Poller."""
        del self.wanted[fd]

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """See Poller."""
        return []

    def close(self) -> None:
        """See Poller."""


class Watched:
    """Open connections whose reads take a time that the test chooses."""

    def __init__(self) -> None:
        self.now, self.read_s, self.poller = 0.0, 0.0, Events()
        self.offenders, self.accepted = Offenders(), list[SocketConnection]()
        acceptor: Any = SimpleNamespace(accept=lambda *_: [self.accepted.pop()], accepts=True, offenders=self.offenders)
        touched = set[Connection]()
        self.open = OpenConnections(acceptor, self.poller, touched, lambda: self.now, tokens_required=False)
        self.sockets: list[socket.socket] = []

    def connect(self, source: str = "10.0.0.1") -> tuple[SocketConnection, socket.socket]:
        """A connection that the server has accepted, and its client's end."""
        near, far = socket.socketpair()
        self.sockets += [near, far]
        limits = Limits(idle_frames=1000)
        link = SocketConnection(Ours(limits, greeted=False).connection, near, limits, self.now)
        link.source, link.comes_from_offender = source, self.offenders.includes(source, self.now)
        receive = link.receive

        def slow(now: float, bytes_max: int = READ_BYTES) -> None:
            self.now += self.read_s
            receive(now, bytes_max)

        link.receive = slow  # type: ignore[method-assign]
        self.accepted.append(link)
        self.open.accept(self.now)
        return link, far

    def say(self, client: socket.socket, link: SocketConnection, said: bytes) -> bool:
        """Let a client send this; whether the server is willing to read it now."""
        client.sendall(said)
        if not self.poller.wanted.get(link.fd, 0) & READ:
            return False
        self.open.handle(link.fd, READ, self.now)
        return bool(self.poller.wanted.get(link.fd, READ) & READ)


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    for each in made.sockets:
        each.close()


def test_a_connection_that_floods_is_read_as_far_as_its_share_of_the_time_goes(watched: Watched) -> None:
    link, client = watched.connect()
    other, honest = watched.connect("10.0.0.2")
    watched.say(client, link, Client.PREFACE + PING * 150)
    watched.read_s = 2 * BURST_S
    assert watched.say(client, link, PING)
    assert not watched.say(client, link, PING), "its time is up"
    assert watched.say(honest, other, Client.PREFACE + Client().request(1)), "others are read"
    assert watched.now < watched.open.resume_at
    watched.now = watched.open.resume_at
    watched.open.resume()
    assert watched.poller.wanted[link.fd] == READ
    assert watched.open.resume_at == float("inf")


def test_who_comes_back_after_floods_is_throttled_until_it_sends_requests(watched: Watched) -> None:
    for _ in range(OFFENCES_MAX):
        link, client = watched.connect()
        watched.say(client, link, Client.PREFACE + PING * 900)
        watched.say(client, link, PING * 200)
        assert link.fd not in watched.poller.wanted, "its connection is ended"
    flooding, again = watched.connect()
    honest, neighbour = watched.connect()
    elsewhere, _ = watched.connect("10.0.0.2")
    assert (flooding.is_throttled, honest.is_throttled, elsewhere.is_throttled) == (True, True, False)
    watched.say(again, flooding, Client.PREFACE + PING)
    watched.say(neighbour, honest, Client.PREFACE + Client().request(1))
    assert (flooding.is_throttled, honest.is_throttled) == (True, False)


def test_a_paused_connection_that_ends_is_not_read_again(watched: Watched) -> None:
    link, client = watched.connect()
    watched.say(client, link, Client.PREFACE + PING * 150)
    watched.read_s = 2 * BURST_S
    watched.say(client, link, PING)
    assert not watched.say(client, link, PING)
    watched.open.close(watched.now)
    watched.open.resume()
    assert link.fd not in watched.poller.wanted


@pytest.mark.parametrize(
    ("said", "ready", "size"),
    [
        pytest.param(b"", 1, READ_BYTES_MIN, id="little from a new peer"),
        pytest.param(Client().request(1), 1, READ_BYTES, id="much from one that sends requests, if it is alone"),
        pytest.param(Client().request(1), 4, READ_BYTES // 4, id="a part if several have something"),
        pytest.param(Client().request(1), 1000, READ_BYTES_MIN, id="little if many have"),
        pytest.param(Client().request(1) + PING, 1, READ_BYTES_MIN, id="little from one that began to flood"),
    ],
)
def test_how_much_is_read_at_once(watched: Watched, said: bytes, ready: int, size: int) -> None:
    link, client = watched.connect()
    watched.say(client, link, Client.PREFACE + said)
    sizes: list[int] = []
    link._read = lambda bytes_max: sizes.append(bytes_max)
    watched.open.share_out(ready)
    watched.say(client, link, PING)
    assert sizes == [size]


# --- Turns ------------------------------------------------------------------------------------------------------------


class Handled:
    """Connections that note which sockets are handled, each of which takes some time."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.fds: list[int] = []

    def share_out(self, count: int) -> None:
        """See OpenConnections."""

    def handle(self, fd: int, event: int, now: float) -> bool:
        """See OpenConnections."""
        self.fds.append(fd)
        self._clock[0] += self._seconds
        return True


def test_sockets_that_a_turn_had_no_time_for_come_first_in_the_next() -> None:
    clock = [0.0]
    reactor = Reactor.__new__(Reactor)
    reactor._clock = lambda: clock[0]
    reactor._unread = {}
    reactor._connections = handled = Handled(clock, TURN_S / 3)  # type: ignore[assignment]
    events = [(fd, READ) for fd in range(5)]
    reactor._read(events, clock[0])
    assert handled.fds == [0, 1, 2]
    assert list(reactor._unread) == [3, 4]
    reactor._read(events, clock[0])  # as a poller tells of them again
    assert handled.fds == [0, 1, 2, 3, 4, 0]


# --- Pollers ----------------------------------------------------------------------------------------------------------


def test_a_poller_without_epoll_can_wait_for_nothing() -> None:
    poller = Selector()
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        poller.register(near.fileno(), READ)
        assert poller.poll(0.0) == [(near.fileno(), READ)]
        poller.modify(near.fileno(), 0)
        assert poller.poll(0.0) == []
        poller.modify(near.fileno(), READ)
        assert poller.poll(0.0) == [(near.fileno(), READ)]
        poller.modify(near.fileno(), 0)
        poller.unregister(near.fileno())
        poller.register(near.fileno(), READ)
        poller.unregister(near.fileno())
        poller.close()
