"""Servers that run side by side and are loaded in turn: by how much one costs more CPU per request than another.

What an experiment of this kind has to say is which servers, and what loads them; what is compared are ratios within a
round.
"""

import argparse
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from skylane.bench.client.generator import Generator, Load
from skylane.bench.figures import ratios
from skylane.bench.lab.baselines.contestants import Served
from skylane.bench.lab.baselines.scenario import Plan
from skylane.bench.lab.baselines.scenarios import rounds_under
from skylane.bench.servers import Kind, Server, running
from skylane.bench.workload.models import read
from skylane.bench.workload.payloads import Exchange

LOADS: Final = (Load(1, 1), Load(8, 8), Load(64, 4))
SERVER: Final = ("--models", "{models}", "--port", "{port}", "--http-port", "{http_port}", "--poll-s", "0")
"""Arguments of our server."""


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The options of every such experiment."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    made.add_argument("--models", type=Path, default=Path("models"))
    made.add_argument("--model", default="diabetes", help="a small one, where overhead weighs most")
    made.add_argument("--rounds", type=int, default=31)
    made.add_argument("--seconds", type=float, default=0.3, help="of each server, in each round, under each load")
    return made


@dataclass(frozen=True)
class Started:
    """Servers of one model, which is served without its cache: a cached answer would cost less than a batch."""

    servers: dict[str, Server]
    exchange: Exchange
    folder: Path
    plan: Plan

    def cpu_us(self, generator: Generator, labels: Sequence[str], load: Load) -> dict[str, list[float]]:
        """Label → CPU of the server for a request, round by round."""
        drivers = [Served(label, self.servers[label], "", self.exchange, generator, self.folder) for label in labels]
        samples = rounds_under("", load, drivers, self.plan, lambda _: None)
        return {label: [each.cpu_us for each in samples if each.contestant == label] for label in labels}

    def compare(self, generator: Generator, labels: Sequence[str]) -> None:
        """Under each load, print each one's median, and by how much it is above the first's, round by round."""
        for load in LOADS:
            cpu_us = self.cpu_us(generator, labels, load)
            base = cpu_us[labels[0]]
            for label, values in cpu_us.items():
                beside = "" if values is base else f"  {_above(values, base)}"
                print(f"{load.name:>5}  {label:<28} {statistics.median(values):7.2f} µs{beside}", flush=True)


def _above(values: Sequence[float], base: Sequence[float]) -> str:
    above = [100 * (ratio - 1) for ratio in ratios(values, base)]
    low, middle, high = statistics.quantiles(above, n=4) if len(above) > 1 else above * 3
    return f"{middle:+.1f} % (half of the rounds between {low:+.1f} and {high:+.1f} %)"


@contextmanager
def started(
    options: argparse.Namespace, kinds: Sequence[Kind], policies: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Started]:
    """A server of each kind, by its name, for the time of the block. {own} in its arguments is a folder of its own.

    `policies`: name → the model.toml that the model has there; by default it has none.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        places = {kind.name: folder / str(place) for place, kind in enumerate(kinds)}
        for name, own in places.items():
            model = own / "models" / options.model
            shutil.copytree(options.models / options.model, model)
            (model / "model.toml").write_text(policies.get(name, ""), "utf-8")
        exchange = read(folder / "0" / "models")[options.model].exchange("grpc", 1)
        servers = {
            kind.name: stack.enter_context(running(kind, folder, models=own / "models", own=own))
            for kind, own in zip(kinds, places.values(), strict=True)
        }
        for server in servers.values():
            server.wait_ready(exchange)
        yield Started(servers, exchange, folder, Plan(options.rounds, options.seconds))
