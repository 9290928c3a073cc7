"""Measuring: contenders in turn, round after round, so that what disturbs the machine disturbs all of them.

Every run lies between two requests by an ordinary client whose replies are compared with the right answer, and all of
its replies together must have exactly the bytes of that answer: a server that fails fast cannot win.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from skylane.bench import processes
from skylane.bench.baselines.bare_socket import receive
from skylane.bench.counters import Counters, counters
from skylane.bench.figures import percentile
from skylane.bench.generator import Generator, Load
from skylane.bench.payloads import Array, Exchange, WrongAnswer
from skylane.bench.saturation.results import Sample
from skylane.bench.servers import Server, ServerFailed
from skylane.onnx_runtime import onnxruntime as ort

WARM_S: Final = 0.2
"""How long a contender is warmed up under each load, roughly; its rate then tells how many requests a round has."""
FIRST_REQUESTS: Final = 64


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float
    """Of each contender, in each round, under each load."""


@dataclass(frozen=True)
class Measured:
    """One contender, one load, once."""

    requests: int
    wall_s: float
    latencies_us: NDArray[np.int64]
    server_cpu_s: float
    generator_cpu_s: float
    rss_mib: float
    other_cpu_s: float
    """Used by everybody else on the machine meanwhile."""
    did: Counters | None = None
    """What the server counted meanwhile."""


class Contestant(Protocol):
    """Something that can be put under load."""

    label: str

    def run(self, load: Load, requests: int) -> Measured:
        """Measure so many requests."""
        ...


class Served:
    """A contestant behind a socket."""

    def __init__(
        self, label: str, server: Server, model: str, exchange: Exchange, generator: Generator, folder: Path
    ) -> None:
        self.label, self._server, self._model, self._exchange = label, server, model, exchange
        self._generator, self._folder = generator, folder

    def run(self, load: Load, requests: int) -> Measured:
        """See Contestant. Raises WrongAnswer, ServerFailed, GeneratorFailed."""
        self._server.ask(self._exchange)
        reply = self._server.ask(self._exchange)  # the second: from the cache, where there is one
        before = counters(self._server, self._model)
        before_s, machine_before_s = self._server.cpu_s(), processes.machine_cpu_s()
        outcome = self._generator.run(self._server.address, self._exchange, load, requests, self._folder)
        machine_s, cpu_s = processes.machine_cpu_s() - machine_before_s, self._server.cpu_s() - before_s
        after = counters(self._server, self._model)
        expected = requests * self._exchange.reply_bytes(reply)
        if outcome.body_bytes != expected:
            raise WrongAnswer(
                f"{self.label}: {requests} replies had {outcome.body_bytes} bytes, "
                f"but right ones have {expected}: some of them were errors"
            )
        self._server.ask(self._exchange)
        other_cpu_s = max(machine_s - cpu_s - outcome.generator_cpu_s, 0.0)
        rss_mib, generator_cpu_s = self._server.rss_mib(), outcome.generator_cpu_s
        return Measured(
            requests,
            outcome.wall_s,
            outcome.latencies_us,
            cpu_s,
            generator_cpu_s,
            rss_mib,
            other_cpu_s,
            after.since(before) if after and before else None,
        )


class InProcess:
    """The model alone: bytes copied into an array, one run, the outputs' bytes copied out. No server, no socket."""

    def __init__(self, label: str, session: ort.InferenceSession, inputs: dict[str, Array]) -> None:
        self.label, self._session = label, session
        self._names = [output.name for output in session.get_outputs()]
        self._inputs = {name: (array.tobytes(), array.dtype, array.shape) for name, array in inputs.items()}

    def run(self, load: Load, requests: int) -> Measured:  # noqa: ARG002
        """See Contestant. One request at a time, whatever the load."""
        latencies_us = np.empty(requests, np.int64)
        machine_before_s, cpu_at, began_at = processes.machine_cpu_s(), time.process_time(), time.perf_counter()
        for index in range(requests):
            started_at = time.perf_counter_ns()
            self._answer()
            latencies_us[index] = (time.perf_counter_ns() - started_at) // 1000
        wall_s, cpu_s = time.perf_counter() - began_at, time.process_time() - cpu_at
        other_cpu_s = max(processes.machine_cpu_s() - machine_before_s - cpu_s, 0.0)
        return Measured(requests, wall_s, latencies_us, cpu_s, 0.0, 0.0, other_cpu_s)

    def _answer(self) -> list[bytes]:
        inputs = {
            name: np.frombuffer(data, dtype).reshape(shape).copy()
            for name, (data, dtype, shape) in self._inputs.items()
        }
        return [np.asarray(output).tobytes() for output in self._session.run(self._names, inputs)]


class AcrossSocket:
    """The model in another process, behind a socket with nothing on it: `skylane.bench.baselines.bare_socket`."""

    def __init__(self, label: str, model: Path, inputs: dict[str, Array], output_bytes: int) -> None:
        """Start it. Ends with `close`."""
        ((_, rows),) = inputs.items()
        self.label, self._message, self._output_bytes = label, rows.astype(np.float32).tobytes(), output_bytes
        command = [sys.executable, "-P", "-m", "skylane.bench.baselines.bare_socket", "--model", str(model)]
        self._process = subprocess.Popen([*command, "--rows", str(len(rows))], stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        """End the other process."""
        self._process.terminate()
        self._process.wait()

    @cached_property
    def _port(self) -> int:
        assert self._process.stdout is not None, "it is piped"
        return int(self._process.stdout.readline())

    def run(self, load: Load, requests: int) -> Measured:  # noqa: ARG002
        """See Contestant. One request at a time, whatever the load."""
        latencies_us = np.empty(requests, np.int64)
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            before_s, own_s = processes.cpu_s(self._process.pid), time.process_time()
            machine_before_s, began_at = processes.machine_cpu_s(), time.perf_counter()
            for index in range(requests):
                started_at = time.perf_counter_ns()
                connection.sendall(self._message)
                if receive(connection, self._output_bytes) is None:
                    raise ServerFailed(f"{self.label}: the other process ended")
                latencies_us[index] = (time.perf_counter_ns() - started_at) // 1000
            wall_s, cpu_s = time.perf_counter() - began_at, processes.cpu_s(self._process.pid) - before_s
        own_s = time.process_time() - own_s
        other_cpu_s = max(processes.machine_cpu_s() - machine_before_s - cpu_s - own_s, 0.0)
        rss_mib = processes.rss_mib(self._process.pid)
        return Measured(requests, wall_s, latencies_us, cpu_s, own_s, rss_mib, other_cpu_s)


def measure(
    scenario: str, contestants: Sequence[Contestant], load: Load, plan: Plan, tell: Callable[[Sample | str], None]
) -> list[Sample]:
    """All rounds under one load, warm-up first. `tell` hears of each sample when it is there."""
    counts = []
    for contestant in contestants:
        tell(f"{scenario} {load.name}: warming up {contestant.label}")
        counts.append(_warm_up(contestant, load, plan.seconds))
    samples = []
    for round_ in range(plan.rounds):
        for index in _turned(len(contestants), round_):
            contestant = contestants[index]
            tell(f"{scenario} {load.name}, round {round_ + 1} of {plan.rounds}: {contestant.label}")
            measured = contestant.run(load, counts[index])
            samples.append(sample_of(measured, scenario, load.name, contestant.label, round_))
            tell(samples[-1])
    return samples


def _turned(count: int, by: int) -> list[int]:
    """0 … count - 1, starting elsewhere each round: nobody always follows the same neighbour's start."""
    return [(index + by) % count for index in range(count)]


def _warm_up(contestant: Contestant, load: Load, seconds: float) -> int:
    """How many requests fill a round: enough for its seconds, and for every stream to have some."""
    least = max(FIRST_REQUESTS, 2 * load.in_flight)
    first = contestant.run(load, least)
    warm = contestant.run(load, _count(first, min(WARM_S, seconds), least))
    return _count(warm, seconds, least)


def _count(measured: Measured, seconds: float, least: int) -> int:
    return max(least, round(measured.requests / measured.wall_s * seconds))


def sample_of(measured: Measured, scenario: str, load: str, contender: str, round_: int) -> Sample:
    """The figures of a measurement."""
    latencies_us, requests, wall_s = measured.latencies_us, measured.requests, measured.wall_s
    return Sample(
        scenario=scenario,
        load=load,
        contender=contender,
        round=round_,
        requests=requests,
        wall_s=round(wall_s, 6),
        requests_per_s=round(requests / wall_s, 1),
        wall_us=round(wall_s / requests * 1e6, 2),
        p50_us=percentile(latencies_us, 0.5),
        p99_us=percentile(latencies_us, 0.99),
        p999_us=percentile(latencies_us, 0.999),
        cpu_us=round(measured.server_cpu_s / requests * 1e6, 2),
        server_cores=round(measured.server_cpu_s / wall_s, 3),
        generator_cores=round(measured.generator_cpu_s / wall_s, 3),
        rss_mib=round(measured.rss_mib, 1),
        other_cores=round(measured.other_cpu_s / wall_s, 3),
        batch_rows=measured.did.batch_rows if measured.did else None,
        hit_share=measured.did.hit_share if measured.did else None,
    )
