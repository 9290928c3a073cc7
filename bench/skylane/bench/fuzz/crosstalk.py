"""A real server between honest clients and hostile neighbours: every honest answer is the one of ONNX Runtime.

The rows of all requests differ, so that an answer which belongs to another caller, or mixes two, shows.
"""

import contextlib
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.linear_model import LinearRegression

from skylane.bench.fuzz.caller import Caller
from skylane.bench.fuzz.hostile import Neighbours
from skylane.bench.fuzz.target import REAL, Play, Target
from skylane.bench.servers import KINDS, Server, running
from skylane.bench.workload.models import bare_session
from skylane.bench.workload.payloads import Exchange, WrongAnswer, grpc_exchange
from skylane.convert import publish

CALLERS: Final = 4
BURST_MAX: Final = 60
"""Requests that a caller has under way at once."""
BURSTS: Final = 10
"""In one round, each of all callers at once."""
FEATURES: Final = 6
EXCHANGES: Final = 2000
"""Different requests, each with its answer."""


@dataclass
class _Stand:
    """The server, everybody who calls it, and what they may send."""

    server: Server
    exchanges: list[Exchange]
    callers: list[Caller] = field(default_factory=list)

    def play(self, seed: int) -> int:
        """Some bursts with hostile acts between them. Returns the honest calls."""
        rng, calls = random.Random(seed), 0
        neighbours = Neighbours(self.server.port)
        bodies = [exchange.body for exchange in self.exchanges]
        try:
            for _ in range(BURSTS):
                bursts = [rng.choices(self.exchanges, k=rng.randrange(1, BURST_MAX)) for _ in self.callers]
                for caller, burst in zip(self.callers, bursts, strict=True):
                    caller.send([exchange.body for exchange in burst])
                    if rng.random() < 0.3:
                        neighbours.act(rng, bodies)
                for caller, burst in zip(self.callers, bursts, strict=True):
                    _check(burst, caller.receive())
                    calls += len(burst)
        except (AssertionError, OSError):
            for caller in self.callers:  # the next round begins on connections of its own
                caller.close()
                caller.open()
            raise
        finally:
            neighbours.close()
        assert self.server.process.poll() is None, f"the server has ended:\n{self.server.end_of_log()}"
        return calls


def _check(burst: list[Exchange], replies: list[bytes]) -> None:
    for exchange, reply in zip(burst, replies, strict=True):
        try:
            exchange.check(reply)
        except WrongAnswer as error:
            raise AssertionError(f"a wrong answer: {error}") from error


@contextlib.contextmanager
def opened() -> Iterator[Play]:
    """A model, a server of it, and connections to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = folder / "models"
        exchanges = _exchanges(models)
        with running(KINDS["native"], folder, models=models) as server, contextlib.ExitStack() as stack:
            server.wait_ready(exchanges[0])
            callers = [stack.enter_context(contextlib.closing(Caller(server.port))) for _ in range(CALLERS)]
            yield _Stand(server, exchanges, callers).play


def _exchanges(models: Path) -> list[Exchange]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, FEATURES)).astype(np.float32)
    published = publish(
        LinearRegression().fit(rows, rows @ np.arange(1, FEATURES + 1)), rows, name="sum", repository=models
    )
    (tensor,) = published.manifest.tensors
    session, names = bare_session(published.path), [output.name for output in published.manifest.outputs]
    exchanges = []
    for _ in range(EXCHANGES):
        inputs = {tensor.name: rng.normal(scale=100, size=(rng.integers(1, 9), FEATURES)).astype(tensor.dtype)}
        exchanges.append(grpc_exchange("sum", inputs, dict(zip(names, session.run(names, inputs), strict=True))))
    return exchanges


TARGET = Target(
    "crosstalk", "a server over sockets between hostile neighbours, each answer against ONNX Runtime", opened, REAL
)
