"""Servers as child processes: started on a free port, asked until they answer rightly, measured, stopped."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from skylane.bench.client.access import OPEN, Access
from skylane.bench.host import processes
from skylane.bench.workload.payloads import PREDICT, Exchange, Protocol

START_S: Final = 60.0
"""Longest that a server may take until it answers."""
STOP_S: Final = 10.0


class ServerFailed(Exception):
    """A server did not start, went away or refused a request; the message has the end of its log."""


@dataclass(frozen=True)
class Kind:
    """A way to serve. In its arguments {port}, {http_port}, {models}, {pipelines} and {answers} are filled in."""

    name: str
    protocol: Protocol
    arguments: tuple[str, ...]
    """Of Python."""
    counts: bool = False
    """Whether it answers ModelStatistics, with figures of all its workers."""
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


_OURS: Final = (
    "-m", "skylane.server", "--models", "{models}", "--port", "{port}", "--log-level", "warning", "--transport",
)  # fmt: skip
_GRPC_AIO: Final = ("-m", "skylane.bench.baselines.grpc_aio", "--models", "{models}", "--port", "{port}", "--batching")
_FASTAPI: Final = ("-m", "skylane.bench.baselines.fastapi_joblib", "--pipelines", "{pipelines}", "--port", "{port}")
_NULL: Final = ("-m", "skylane.bench.baselines.null", "--answers", "{answers}", "--port", "{port}")

KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("native", "grpc", (*_OURS, "native"), counts=True),
        Kind("native x2", "grpc", (*_OURS, "native", "--workers", "2")),
        Kind("grpcio", "grpc", (*_OURS, "grpcio"), counts=True),
        Kind("grpc.aio batching", "grpc", (*_GRPC_AIO, "naive")),
        Kind("grpc.aio", "grpc", (*_GRPC_AIO, "none")),
        Kind("fastapi", "http", _FASTAPI),
        Kind("null", "grpc", _NULL),
    )
}


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    kind: Kind
    port: int
    http_port: int
    """If its arguments have one."""
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def ask(self, exchange: Exchange) -> bytes:
        """Send one request by an ordinary client and check the reply, which is returned without framing.

        Raises WrongAnswer, or ServerFailed if there is no reply.
        """
        try:
            reply = ask_grpc(self.address, exchange) if self.kind.protocol == "grpc" else _ask_http(self, exchange)
        except (grpc.RpcError, OSError, http.client.HTTPException) as error:
            raise ServerFailed(f"{self.kind.name}: {error}\n{self.end_of_log()}") from error
        exchange.check(reply)
        return reply

    def wait_ready(self, exchange: Exchange) -> None:
        """Ask until the answer comes. Raises ServerFailed if it ends before, or takes too long, and WrongAnswer."""
        self.wait_until(lambda: self.ask(exchange), ServerFailed)

    def wait_until(self, ask: Callable[[], object], not_yet: type[Exception]) -> None:
        """Ask until it raises `not_yet` no longer. Raises ServerFailed if the server ends before, or takes too long."""
        gives_up_at = time.monotonic() + START_S
        while True:
            try:
                ask()
                return
            except not_yet as error:
                if self.process.poll() is not None:
                    raise ServerFailed(f"{self.kind.name} ended while starting\n{self.end_of_log()}") from None
                if time.monotonic() > gives_up_at:
                    message = f"{self.kind.name} was not ready after {START_S:.0f} s: {error}\n{self.end_of_log()}"
                    raise ServerFailed(message) from error
                time.sleep(0.05)

    def cpu_s(self) -> float:
        """CPU seconds of the process tree so far."""
        return processes.cpu_s(self.process.pid)

    def rss_mib(self) -> float:
        """Memory of the process tree, in MiB."""
        return processes.rss_mib(self.process.pid)

    def end_of_log(self) -> str:
        """What it said last."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  | {line}" for line in lines[-15:])


@contextlib.contextmanager
def running(kind: Kind, folder: Path, **places: Path) -> Iterator[Server]:
    """A server inside the block; its log is kept in `folder`. It may not answer yet: see `wait_ready`."""
    port, http_port = free_port(), free_port()
    arguments = [argument.format(port=port, http_port=http_port, **places) for argument in kind.arguments]
    log = folder / f"{kind.name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        # Its own session, so that Ctrl-C reaches the harness alone and servers end in order.
        process = subprocess.Popen(
            [kind.python, "-P", *arguments], stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **kind.environment},
        )  # fmt: skip
    try:
        yield Server(kind, port, http_port, process, log)
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A port that is free now. If another process takes it before the server does, the server fails to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask_grpc(address: str, exchange: Exchange, access: Access = OPEN) -> bytes:
    """The reply to one request by an ordinary client, not checked. Raises grpc.RpcError if there is none."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with access.channel(address, options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(exchange.path)
        return call(exchange.body[5:], timeout=10, metadata=access.metadata)


def replies(address: str, bodies: Iterable[bytes], access: Access = OPEN) -> dict[bytes, bytes]:
    """Framed Predict request → the reply to it, not checked. Raises grpc.RpcError."""
    return {body: ask_grpc(address, Exchange("grpc", PREDICT, body, {}), access) for body in bodies}


def ask_checked(address: str, exchange: Exchange, access: Access = OPEN) -> bytes:
    """The same, and the reply is checked. Raises WrongAnswer too."""
    reply = ask_grpc(address, exchange, access)
    exchange.check(reply)
    return reply


def _ask_http(server: Server, exchange: Exchange) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", exchange.path, exchange.body, {"content-type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ServerFailed(f"{server.kind.name}: HTTP {response.status}: {body[:500]!r}\n{server.end_of_log()}")
    return body
