"""A server on several addresses, of both families and on a Unix domain socket, as its clients and its log see it."""

import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylane.server.core.settings import Transport
from support.calls import ask, features, open_channel, predict
from support.process import Served


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
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


def answers(address: str) -> bool:
    """Whether a server answers there."""
    with open_channel(address) as channel:
        return bool(predict(channel)(ask("linear", features=features(1)), timeout=30).version == 1)


@pytest.mark.parametrize(
    ("workers", "hosts", "told", "reached"),
    [
        pytest.param("1", ["::"], r"\[::\]:(\d+)", ["127.0.0.1", "[::1]"], id="all"),
        pytest.param("2", ["::"], r"\[::\]:(\d+)", ["127.0.0.1", "[::1]"], id="all, with workers"),
        pytest.param("1", ["localhost"], r"localhost:(\d+)", ["127.0.0.1", "[::1]"], id="localhost"),
        pytest.param("1", ["[::1]"], r"\[::1\]:(\d+)", ["[::1]"], id="one in brackets"),
        pytest.param("2", ["127.0.0.1", "::1"], r"127.0.0.1:(\d+), \[::1\]:\1", ["[::1]"], id="several"),
        pytest.param("1", ["127.0.0.1,::1"], r"127.0.0.1:(\d+), \[::1\]:\1", ["[::1]"], id="with a comma"),
    ],
)
@needs_ipv6
def test_every_address_answers_and_every_url_in_the_log_can_be_opened(
    small_models: Path, transport: Transport, workers: str, hosts: list[str], told: str, reached: list[str]
) -> None:
    options = [part for host in hosts for part in ("--host", host)]
    with Served(
        "--models", str(small_models), "--transport", transport, "--http-port", "0", "--workers", workers, *options
    ) as served:
        line = served.until("HTTP on ")
        if workers == "2":
            served.until("serving on ")
        at = re.search(rf"(?:serving|worker with) .* on {told} \(", "".join(served.lines))
        assert at
        assert [answers(f"{host}:{at[1]}") for host in reached] == [True] * len(reached)
        urls = re.findall(r"http://[^\s,;]+", line.partition("live page")[0])
        assert len(urls) == len(hosts[0].split(",")) * len(hosts)
        for url in urls:
            with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("more", [["--host", "127.0.0.1"], []], ids=["beside a port", "alone"])
def test_a_unix_domain_socket_answers(folder: Path, small_models: Path, transport: Transport, more: list[str]) -> None:
    address = f"unix:{folder}/grpc.sock"
    with Served("--models", str(small_models), "--transport", transport, "--host", address, *more) as served:
        assert f" on {address}" in served.until("serving ")
        assert answers(address)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert "Traceback" not in served.rest()
    assert list(folder.iterdir()) == [], "the file goes with the server"


def test_workers_share_a_unix_domain_socket(folder: Path, small_models: Path) -> None:
    address = f"unix:{folder}/grpc.sock"
    with Served("--models", str(small_models), "--host", address, "--workers", "2") as served:
        assert f"serving on {address} with 2 workers" in served.until("serving on")
        assert all(answers(address) for _ in range(8))
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert "Traceback" not in served.rest()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_socket_of_a_server_that_is_alive_is_refused(
    folder: Path, small_models: Path, transport: Transport, workers: str
) -> None:
    if transport == "grpcio" and workers == "2":
        pytest.skip("workers share one only with the native transport")
    host = f"unix:{folder}/grpc.sock"
    command = [sys.executable, "-P", "-m", "skylane.server", "--models", str(small_models), "--host", host]
    command += ["--transport", transport, "--workers", workers]
    with Served("--models", str(small_models), "--host", host) as served:
        served.until("serving ")
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
        assert f"host: {host} cannot be bound: another server is listening on it" in second.stderr
        assert answers(host), "the first has noticed nothing"


def test_a_socket_in_a_directory_that_is_not_there(folder: Path, small_models: Path, transport: Transport) -> None:
    host = f"unix:{folder}/none/grpc.sock"
    command = [sys.executable, "-P", "-m", "skylane.server", "--models", str(small_models), "--host", host]
    refused = subprocess.run([*command, "--transport", transport], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "cannot be bound" in refused.stderr
    assert "Traceback" not in refused.stderr
