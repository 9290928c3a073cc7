"""Who takes part, and how each is put under load.

Every run lies between two requests by an ordinary client whose replies are compared with the right answer, and all of
its replies together must have exactly the bytes of that answer: a server that fails fast cannot win.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from skylane.bench.baselines.bare_socket import receive
from skylane.bench.client.generator import Generator, Load
from skylane.bench.client.load import OK
from skylane.bench.client.sending import Log
from skylane.bench.host import processes
from skylane.bench.host.usage import Usage
from skylane.bench.lab.measure.figures import Closed, Measured, Observed, measured
from skylane.bench.lab.measure.measurement import Endpoint, observed
from skylane.bench.servers import Server, ServerFailed
from skylane.bench.workload.payloads import Array, Exchange, WrongAnswer
from skylane.onnx_runtime import onnxruntime as ort

BASELINE: Final = "grpc.aio batched"
"""Label of the usual way to serve over gRPC."""
IN_PROCESS: Final = "in process"
BARE_SOCKET: Final = "bare socket"
NO_SERVERS: Final = frozenset((IN_PROCESS, BARE_SOCKET))
"""Kinds that answer no protocol of ours."""


@dataclass(frozen=True)
class Contestant:
    """A server and the model that it is asked about."""

    label: str
    kind: str
    """Of skylane.bench.servers.KINDS, or of NO_SERVERS."""
    model: str


class Driver(Protocol):
    """Puts a contestant under load."""

    label: str

    def run(self, load: Load, requests: int) -> Measured:
        """Measure so many requests."""
        ...


class Served:
    """A server and a load generator."""

    def __init__(
        self, label: str, server: Server, model: str, exchange: Exchange, generator: Generator, folder: Path
    ) -> None:
        self.label, self._server, self._exchange = label, server, exchange
        self._endpoint = Endpoint(server.address, model, server.process.pid, counts=server.kind.counts)
        self._generator, self._folder = generator, folder

    def run(self, load: Load, requests: int) -> Measured:
        """See Driver. Raises WrongAnswer, ServerFailed, GeneratorFailed."""
        self._server.ask(self._exchange)
        reply = self._server.ask(self._exchange)  # the second: from the cache, where there is one
        address, expected = self._server.address, requests * self._exchange.reply_bytes(reply)
        seen = observed(
            self._endpoint,
            lambda: self._generator.run(address, self._exchange, load, requests, self._folder),
            sample_s=None,
        )
        if seen.log.body_bytes != expected:
            raise WrongAnswer(
                f"{self.label}: {requests} replies had {seen.log.body_bytes} bytes, "
                f"but right ones have {expected}: some of them were errors"
            )
        self._server.ask(self._exchange)
        return _figures(seen, load)


class InProcess:
    """The model alone: bytes copied into an array, one run, the outputs' bytes copied out. No server, no socket."""

    def __init__(self, label: str, session: ort.InferenceSession, inputs: dict[str, Array]) -> None:
        self.label, self._session = label, session
        self._names = [output.name for output in session.get_outputs()]
        self._inputs = {name: (array.tobytes(), array.dtype, array.shape) for name, array in inputs.items()}

    def run(self, load: Load, requests: int) -> Measured:
        """See Driver. One request at a time, whatever the load."""
        machine_s, cpu_s, began_at = processes.machine_cpu_s(), time.process_time(), time.time()
        log = _one_by_one(requests, self._answer)
        used_s, ended_at = time.process_time() - cpu_s, time.time()
        other_s = max(processes.machine_cpu_s() - machine_s - used_s, 0.0)
        usage = Usage(np.array([began_at, ended_at]), np.array([0.0, used_s]), np.zeros(2))
        return _figures(Observed(log, None, usage, other_s / log.wall_s), load)

    def _answer(self) -> None:
        inputs = {
            name: np.frombuffer(data, dtype).reshape(shape).copy()
            for name, (data, dtype, shape) in self._inputs.items()
        }
        for output in self._session.run(self._names, inputs):
            np.asarray(output).tobytes()


class AcrossSocket:
    """The model in another process, behind a socket without any protocol: `skylane.bench.baselines.bare_socket`."""

    def __init__(self, label: str, model: Path, inputs: dict[str, Array], output_bytes: int) -> None:
        """Start it. Ends with `close`."""
        ((_, rows),) = inputs.items()
        self.label, self._message, self._output_bytes = label, rows.tobytes(), output_bytes
        command = [
            sys.executable,
            "-P",
            "-m",
            "skylane.bench.baselines.bare_socket",
            "--model",
            os.fspath(model.resolve()),
        ]
        self._process = subprocess.Popen([*command, "--rows", str(len(rows))], stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        """End the other process."""
        self._process.terminate()
        self._process.communicate()

    @cached_property
    def _port(self) -> int:
        assert self._process.stdout is not None, "it is piped"
        return int(self._process.stdout.readline())

    def run(self, load: Load, requests: int) -> Measured:
        """See Driver. One request at a time, whatever the load."""
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def answer() -> None:
                connection.sendall(self._message)
                if receive(connection, self._output_bytes) is None:
                    raise ServerFailed(f"{self.label}: the other process ended")

            endpoint = Endpoint("", "", self._process.pid, counts=False)
            return _figures(observed(endpoint, lambda: _one_by_one(requests, answer), sample_s=None), load)


def _one_by_one(requests: int, answer: Callable[[], None]) -> Log:
    """The log of requests of which each is made when the one before is answered."""
    start_us, took_us = np.empty(requests, np.int64), np.empty(requests, np.int64)
    cpu_s, began_at_ns = time.process_time(), time.perf_counter_ns()
    for index in range(requests):
        started_at_ns = time.perf_counter_ns()
        answer()
        start_us[index] = (started_at_ns - began_at_ns) // 1000
        took_us[index] = (time.perf_counter_ns() - started_at_ns) // 1000
    return Log(start_us, np.full(requests, OK), took_us, generator_cpu_s=time.process_time() - cpu_s)


def _figures(seen: Observed, load: Load) -> Measured:
    return measured(seen, Closed(seconds=seen.log.wall_s, connections=load.connections, streams=load.streams))
