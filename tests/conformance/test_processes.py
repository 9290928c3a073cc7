"""The server's processes: signals, workers that hang, and containers that allow little."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from skylane.server.core.settings import Transport
from support import models
from support.calls import ask, features, open_channel, predict
from support.process import Served
from support.server import serving


def answers(address: str) -> bool:
    """Whether a server answers there."""
    with open_channel(address) as channel:
        return predict(channel)(ask("linear", features=features(1)), wait_for_ready=True, timeout=60).version == 1


def wait_until_ready(address: str) -> None:
    """Return when the server says that it is ready."""
    with open_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch  # type: ignore[attr-defined]
        for answer in watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


def started(served: Served, workers: str) -> tuple[str, list[int]]:
    """Where a server answers, and its workers' processes."""
    if workers == "1":
        found = re.search(r"serving .* on (\S+) \(", served.until("serving "))
        assert found
        return found[1], []
    found = re.search(r"serving on (\S+) with 2 workers \(pids (\d+), (\d+)\)", served.until("serving on"))
    assert found
    return found[1], [int(found[2]), int(found[3])]


both_modes = pytest.mark.parametrize("workers", ["1", "2"], ids=["alone", "with workers"])


@both_modes
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_that_drains(small_models: Path, workers: str, ending: signal.Signals) -> None:
    with Served("--models", str(small_models), "--workers", workers) as served:
        address, _ = started(served, workers)
        assert answers(address)
        served.process.send_signal(ending)
        assert served.process.wait(60) == 0
        assert served.rest().count("closed after") == int(workers)


@both_modes
def test_signals_that_change_nothing(small_models: Path, workers: str) -> None:
    with Served("--models", str(small_models), "--workers", workers) as served:
        address, pids = started(served, workers)
        for pid in (served.process.pid, *pids):
            for ignored in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
                os.kill(pid, ignored)
        assert answers(address)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert "ended after" not in served.rest()


@both_modes
def test_hang_up_polls_the_repository_and_the_tokens(tmp_path: Path, workers: str) -> None:
    """With --poll-s 0 nothing else does."""
    tokens, root = tmp_path / "tokens.toml", tmp_path / "models"
    models.linear(root)
    tokens.write_text("")
    options = ("--models", str(root), "--workers", workers, "--poll-s", "0")
    with Served(*options) as served:
        address, _ = started(served, workers)
        models.linear(root, version=2)
        served.process.send_signal(signal.SIGHUP)
        for _ in range(int(workers)):
            served.until("linear: version 2 answers requests that name no version")
        with open_channel(address) as channel:
            assert predict(channel)(ask("linear", features=features(1)), timeout=60).version == 2
        assert sum("polled now" in line or "poll the repository" in line for line in served.lines) >= 1


def test_a_worker_that_is_stopped_is_replaced(small_models: Path) -> None:
    with Served("--models", str(small_models), "--workers", "2") as served:
        address, pids = started(served, "2")
        os.kill(pids[0], signal.SIGSTOP)
        assert f"(pid {pids[0]}) is stopped or hangs" in served.until("is killed")
        assert f"(pid {pids[0]}, SIGKILL) ended" in served.until("ended after")
        served.until("is ready after")
        assert all(answers(address) for _ in range(8))
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_a_worker_that_is_stopped_keeps_no_server_from_ending(small_models: Path) -> None:
    with Served("--models", str(small_models), "--workers", "2", "--grace-s", "0") as served:
        _, pids = started(served, "2")
        os.kill(pids[0], signal.SIGSTOP)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert "all workers have ended" in served.rest()


# --- Containers -------------------------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_server_whose_standard_streams_are_closed(small_models: Path, workers: str, closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/s"
        shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-P", "-m", "skylane.server"]
        command = [*shell, "--models", str(small_models), "--host", address, "--workers", workers]
        with Served(command=command) as served:
            wait_until_ready(address)
            assert answers(address)
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(60) == 0


READ_ONLY = """
mount --make-rprivate / && mount -t tmpfs -o ro tmpfs /dev/shm && mount --bind / /mnt && mount --rbind /dev /mnt/dev &&
mount --rbind /proc /mnt/proc && mount -o remount,bind,ro /mnt && exec chroot /mnt "$@"
"""


def read_only(*options: str) -> list[str]:
    """A server that can write nowhere. Skips where no such place can be made."""
    unshare = shutil.which("unshare")
    prefix = [str(unshare), "--mount", "sh", "-c", READ_ONLY, "sh"]
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts cannot be made here")
    return [*prefix, sys.executable, "-P", "-m", "skylane.server", "--port", "0", *options]


@pytest.mark.parametrize("workers", ["1", "2"], ids=["alone", "with workers"])
def test_a_server_that_can_write_nowhere(small_models: Path, transport: Transport, workers: str) -> None:
    options = ("--models", str(small_models), "--transport", transport, "--workers", workers)
    with Served(command=read_only(*options)) as served:
        address, _ = started(served, workers)
        assert answers(address)
        with open_channel(address) as channel:  # served by grpcio, behind the native transport
            ask_for = reflection_pb2.ServerReflectionRequest(list_services="")
            info: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            assert next(info(iter([ask_for]), timeout=60)).list_services_response.service
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        said = served.rest()
    assert "Traceback" not in said
    assert ("set TMPDIR to a writable directory" in said) == (workers == "2")


def names_of_sockets() -> set[str]:
    """Of the sockets without a file that servers of this process listen on."""
    with open("/proc/net/unix") as sockets:
        return {line.split()[-1] for line in sockets if f"@skylane-{os.getpid()}-" in line}


@pytest.fixture
def behind(small_models: Path) -> Iterator[str]:
    """The socket between the native transport and grpcio."""
    others = names_of_sockets()  # of servers that other tests share
    with serving(small_models, "native"):
        (name,) = names_of_sockets() - others
        yield f"unix-abstract:{name[1:]}"


@pytest.mark.skipif(sys.platform != "linux", reason="names without a file are Linux's")
@pytest.mark.parametrize("metadata", [(), (("x-skylane-proxy", "guess"),)], ids=["no secret", "a guess"])
def test_the_socket_behind_the_front_is_for_the_front_alone(behind: str, metadata: Sequence[tuple[str, str]]) -> None:
    """Any user of the machine can reach it: who does goes round TLS."""
    with open_channel(behind) as channel, pytest.raises(grpc.RpcError) as refused:
        predict(channel)(ask("linear", features=features(1)), timeout=60, metadata=tuple(metadata))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.details() == "this socket is for the server itself: call its gRPC port"
