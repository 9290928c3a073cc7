"""Connections to several sockets of one port, in turn where the kernel lets us."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from skylane.server.host import reuseport_ebpf

needs_the_right = pytest.mark.skipif(not reuseport_ebpf.possible(), reason="needs Linux and CAP_BPF")


@contextlib.contextmanager
def group(size: int) -> Iterator[tuple[int, list[socket.socket]]]:
    """Sockets that listen on one port, as workers do."""
    with contextlib.ExitStack() as stack:
        members, port = list[socket.socket](), 0
        for _ in range(size):
            made = stack.enter_context(socket.socket())
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(("127.0.0.1", port))
            made.listen(64)
            made.setblocking(False)
            port = made.getsockname()[1]
            members.append(made)
        yield port, members


def connect(port: int, count: int) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    for _ in range(count):
        stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    return stack


def accepted(member: socket.socket) -> int:
    """How many connections wait there."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            member.accept()[0].close()
            count += 1
    return count


@needs_the_right
@pytest.mark.parametrize(
    ("workers", "connections", "counts"),
    [(2, 8, [4, 4]), (3, 8, [3, 3, 2]), (4, 8, [2, 2, 2, 2]), (4, 64, [16, 16, 16, 16])],
)
def test_connections_come_in_turn(workers: int, connections: int, counts: list[int]) -> None:
    with group(workers) as (port, members):
        assert reuseport_ebpf.share_in_turn(port, workers)
        with connect(port, connections):
            assert [accepted(member) for member in members] == counts


def test_no_file_stays_open() -> None:
    with group(2) as (port, _):
        before = os.listdir("/proc/self/fd")
        reuseport_ebpf.share_in_turn(port, 2)
        assert os.listdir("/proc/self/fd") == before


@needs_the_right
def test_a_worker_that_is_not_there_loses_nobody() -> None:
    with group(4) as (port, members):
        assert reuseport_ebpf.share_in_turn(port, 4)
        members.pop(1).close()
        with connect(port, 64):
            assert sum(accepted(member) for member in members) == 64


def test_a_port_on_which_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not reuseport_ebpf.share_in_turn(bound.getsockname()[1], 2)


def test_without_the_right_the_hash_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuseport_ebpf, "allowed", lambda: False)
    with group(2) as (port, members):
        assert not reuseport_ebpf.possible()
        assert not reuseport_ebpf.share_in_turn(port, 2)
        with connect(port, 16):
            assert sum(accepted(member) for member in members) == 16
