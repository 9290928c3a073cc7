"""Which addresses a host stands for, and what happens to the files of Unix domain sockets."""

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from skylane.server.host.addresses import CannotBind, all_shown, bind, shown

V4, V6 = socket.AF_INET, socket.AF_INET6


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(V6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A test's own directory has a name too long for a socket's path."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param("127.0.0.1", [(V4, "127.0.0.1")], id="one address"),
        pytest.param("0.0.0.0", [(V4, "0.0.0.0")], id="all of IPv4"),
        pytest.param("::1", [(V6, "::1")], id="one of IPv6", marks=needs_ipv6),
        pytest.param("[::1]", [(V6, "::1")], id="one of IPv6 in brackets", marks=needs_ipv6),
        pytest.param("::", [(V4, "0.0.0.0"), (V6, "::")], id="all of both families", marks=needs_ipv6),
        pytest.param("[::]", [(V4, "0.0.0.0"), (V6, "::")], id="the same in brackets", marks=needs_ipv6),
        pytest.param("", [(V4, "0.0.0.0"), (V6, "::")], id="the same as nothing", marks=needs_ipv6),
        pytest.param("localhost", [(V4, "127.0.0.1"), (V6, "::1")], id="localhost in both families", marks=needs_ipv6),
        pytest.param(["127.0.0.1", "::1"], [(V4, "127.0.0.1"), (V6, "::1")], id="several", marks=needs_ipv6),
        pytest.param(
            ["::1", "localhost", "[::1]"], [(V6, "::1"), (V4, "127.0.0.1")], id="each address once", marks=needs_ipv6
        ),
    ],
)
def test_the_addresses_of_a_host(hosts: str | Sequence[str], expected: list[tuple[int, str]]) -> None:
    bound = bind(hosts, 0)
    assert [(each.family, each.getsockname()[0]) for each in bound.sockets] == expected
    assert {each.getsockname()[1] for each in bound.sockets} == {bound.port}, "all have one port"
    for family, host in expected:
        with socket.socket(family) as client:
            client.connect(("127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host, bound.port))
    bound.close()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("localhost", "localhost:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("::", "[::]:80"),
        ("", "[::]:80"),
        ("unix:/run/skylane.sock", "unix:/run/skylane.sock"),
    ],
)
def test_an_address_is_shown_as_clients_write_it(host: str, text: str) -> None:
    assert shown(host, 80) == text


def test_several_are_shown_each_once() -> None:
    assert all_shown(("127.0.0.1", "::1", "127.0.0.1", "unix:/s"), 80) == "127.0.0.1:80, [::1]:80, unix:/s"


@needs_ipv6
def test_a_free_port_is_free_on_every_address() -> None:
    """Another one is tried where somebody has it on one of them; a port that was asked for is refused."""
    refusals = [errno.EADDRINUSE] * 2

    def prepare(made: socket.socket) -> None:
        if made.family == V6 and refusals:
            raise OSError(refusals.pop(), "in use")

    bound = bind("localhost", 0, prepare=prepare)
    assert len({each.getsockname()[1] for each in bound.sockets}) == 1
    bound.close()
    refusals.append(errno.EADDRINUSE)
    with pytest.raises(CannotBind) as refused:
        bind("localhost", bound.port, prepare=prepare)
    assert (refused.value.where, refused.value.errno) == (f"localhost:{bound.port}", errno.EADDRINUSE)


def test_what_was_bound_is_released_when_a_later_address_is_refused() -> None:
    with pytest.raises(CannotBind, match="not known"):
        bind(["127.0.0.1", "no-such-host.invalid"], 0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotBind) as refused:
            bind("127.0.0.1", port)
    assert refused.value.where == f"127.0.0.1:{port}"


# --- Unix domain sockets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("umask", "mode"),
    [pytest.param(0o022, 0o640, id="the usual umask"), pytest.param(0o007, 0o660, id="for the group")],
)
def test_only_the_owner_may_connect_unless_the_umask_says_more(folder: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        bound = bind(f"unix:{folder}/s", 0)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "s").stat().st_mode) == mode
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{folder}/s")
    assert bound.port == 0
    bound.close()
    assert list(folder.iterdir()) == []


def test_the_file_of_a_server_that_was_killed_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{folder}/s")
        left.listen()
    bound = bind(f"unix:{folder}/s", 0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{folder}/s")
    bound.close()


def test_the_file_of_a_server_that_is_alive_stays(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(f"{folder}/s")
        alive.listen()
        with pytest.raises(CannotBind, match="in use"):
            bind(f"unix:{folder}/s", 0)
        assert (folder / "s").is_socket()


def test_a_file_that_is_no_socket_stays(folder: Path) -> None:
    (folder / "s").write_text("mine")
    with pytest.raises(CannotBind, match="which is no socket"):
        bind(f"unix:{folder}/s", 0)
    assert (folder / "s").read_text() == "mine"


def test_a_file_that_another_server_has_put_there_stays(folder: Path) -> None:
    bound = bind(f"unix:{folder}/s", 0)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{folder}/new")  # while the first is there, so that their inodes differ
        (folder / "new").replace(folder / "s")
        bound.close()
        assert (folder / "s").is_socket()


def test_sockets_that_another_process_has_bound_are_used(folder: Path) -> None:
    first = bind(["127.0.0.1", f"unix:{folder}/s"], 0)
    (theirs,) = (each for each in first.sockets if each.family == socket.AF_UNIX)
    second = bind([f"unix:{folder}/s"], 0, inherited=[os.dup(theirs.fileno())])
    second.close()
    assert (folder / "s").is_socket(), "it is removed by who made it"
    first.close()
    assert not (folder / "s").exists()
