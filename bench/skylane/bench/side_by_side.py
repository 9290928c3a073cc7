"""Servers that stand side by side and are loaded in turn: by how much one costs more than another.

The order turns round with each round, so that what disturbs the machine disturbs all. The figure is CPU of the server
for each request; what is compared are ratios within a round.
"""

import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from skylane import manifest as manifests
from skylane.bench.generator import GeneratorFailed, Load
from skylane.bench.payloads import Exchange, grpc_exchange
from skylane.bench.processes import cpu_s
from skylane.dtypes import NUMPY

LOADS: Final = (Load(1, 1), Load(8, 8), Load(64, 4))

Send = Callable[[str, Load, int], float]
"""(address, load, requests): sends them all and waits for their answers; how long that took, in seconds."""


@dataclass(frozen=True)
class Contestant:
    """A server that runs, and who loads it."""

    label: str
    pid: int
    address: str
    send: Send

    def cpu_us(self, load: Load, requests: int) -> float:
        """CPU of one request, in microseconds."""
        before_s = cpu_s(self.pid)
        self.send(self.address, load, requests)
        return (cpu_s(self.pid) - before_s) / requests * 1e6


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    pid: int
    address: str
    http: str


@contextmanager
def running(
    start: Sequence[str], models: Path, *, code: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A server on free ports, ended with the block. `code`: another checkout whose server it is."""
    command = [*start, "--models", str(models), "--port=0", "--http-port=0", "--poll-s=0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=code, env={**os.environ, **(environment or {})}
    )
    try:
        assert process.stderr is not None
        said = ""
        while (line := process.stderr.readline()) and "HTTP on" not in said:
            said += line
            if "HTTP on" in line:
                break
        port = re.search(r" on 127\.0\.0\.1:(\d+) \(native", said)
        http = re.search(r"HTTP on (http://\S+);", said)
        if port is None or http is None:
            raise GeneratorFailed(f"the server did not start:\n{said}")
        yield Running(process.pid, f"127.0.0.1:{port[1]}", http[1])
    finally:
        process.terminate()
        process.communicate(timeout=60)


def without_cache(models: Path, model: str, folder: Path) -> Path:
    """A repository of this model alone, with the default policy: a kept answer would cost less than a batch."""
    shutil.copytree(models / model, folder / model)
    (folder / model / "model.toml").unlink(missing_ok=True)
    return folder


def exchange_of(models: Path, model: str) -> Exchange:
    """The first golden row of the model's latest version. Raises SystemExit if there is none."""
    versions = [int(path.parent.name) for path in (models / model).glob("*/manifest.json")]
    if not versions:
        raise SystemExit(f"{models / model}: expected versions of a model, found none")
    version = max(versions)
    found = manifests.decode((models / model / str(version) / "manifest.json").read_bytes())
    inputs = {
        spec.name: np.array(found.golden.inputs[spec.name][:1], object if spec.dtype == "string" else NUMPY[spec.dtype])
        for spec in found.tensors
    }
    return grpc_exchange(model, inputs, {})


def compare(contestants: Sequence[Contestant], load: Load, rounds: int, seconds: float) -> None:
    """Print each one's median, and by how much it is above the first's, round by round."""
    requests = 64 * load.in_flight
    for contestant in contestants:  # warm up
        taken_s = contestant.send(contestant.address, load, requests)
    requests = max(requests, round(requests / taken_s * seconds))
    taken: dict[str, list[float]] = {contestant.label: [] for contestant in contestants}
    for turn in range(rounds):
        first = turn % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            taken[contestant.label].append(contestant.cpu_us(load, requests))
    base = taken[contestants[0].label]
    for label, told in taken.items():
        ratios = [100 * (mine / its - 1) for mine, its in zip(told, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        beside = "" if told is base else f"  {middle:+.1f} % (half of the rounds between {low:+.1f} and {high:+.1f} %)"
        print(f"{load.name:>5}  {label:<28} {statistics.median(told):7.2f} µs{beside}", flush=True)
