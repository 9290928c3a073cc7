"""What it costs that requests are counted: one server that counts, one that does not, one that is scraped as well.

    python -m bench.statistics_cost --models models --model diabetes

All three stand side by side and are loaded in turn, in an order that turns round with each round, so that what disturbs
the machine disturbs all. The figure is CPU of the server for each request. The server that does not count is this one
with the recording taken out when it starts; the name of a call's protocol is still set. The model is served without its
cache, since a kept answer costs less to count than a batch.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.generator import GeneratorFailed, H2load, Load
from bench.payloads import Exchange, grpc_exchange
from bench.processes import cpu_s
from skylane import manifest as manifests
from skylane.dtypes import NUMPY

WITHOUT: Final = """
import sys
from server.engine.statistics import Statistics
for name in ("answered", "hit", "followed", "had_no_rows", "failed"):
    setattr(Statistics, name, lambda *_: None)
from server.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
LOADS: Final = (Load(1, 1), Load(8, 8), Load(64, 4))
SCRAPE_S: Final = 1.0
"""Prometheus asks every 15 s where nobody says otherwise; once a second is what an impatient one does."""


@dataclass
class Contestant:
    """A server that runs."""

    label: str
    pid: int
    address: str

    def cpu_us(self, generator: H2load, exchange: Exchange, load: Load, requests: int, folder: Path) -> float:
        """CPU of one request, in microseconds."""
        before_s = cpu_s(self.pid)
        generator.run(self.address, exchange, load, requests, folder)
        return (cpu_s(self.pid) - before_s) / requests * 1e6


@contextmanager
def served(label: str, models: Path, *, counts: bool, scraped: bool) -> Iterator[Contestant]:
    """A server on free ports, ended with the block."""
    start = ["-m", "server"] if counts else ["-c", WITHOUT]
    command = [sys.executable, *start, "--models", str(models), "--port=0", "--http-port=0", "--poll-s=0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ended = threading.Event()
    scraper: threading.Thread | None = None
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
        if scraped:
            scraper = threading.Thread(target=_scrape, args=(f"{http[1]}/metrics", ended))
            scraper.start()
        yield Contestant(label, process.pid, f"127.0.0.1:{port[1]}")
    finally:
        ended.set()
        if scraper:
            scraper.join()
        process.terminate()
        process.communicate(timeout=60)


def _scrape(url: str, ended: threading.Event) -> None:
    while not ended.wait(SCRAPE_S):
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()


def exchange_of(models: Path, model: str) -> Exchange:
    """The first golden row of the model's latest version."""
    version = max(int(path.parent.name) for path in (models / model).glob("*/manifest.json"))
    found = manifests.decode((models / model / str(version) / "manifest.json").read_bytes())
    inputs = {
        spec.name: np.array(found.golden.inputs[spec.name][:1], object if spec.dtype == "string" else NUMPY[spec.dtype])
        for spec in found.tensors
    }
    return grpc_exchange(model, inputs, {})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.statistics_cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="diabetes", help="a small one, where counting weighs most")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each server, in each round, under each load")
    options = parser.parse_args(argv)
    generator, exchange = H2load(), exchange_of(options.models, options.model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = folder / "models"
        shutil.copytree(options.models / options.model, models / options.model)
        (models / options.model / "model.toml").unlink(missing_ok=True)
        servers = [
            stack.enter_context(served(label, models, counts=counts, scraped=scraped))
            for label, counts, scraped in (
                ("not counted", False, False), ("counted", True, False), ("counted and scraped", True, True),
            )
        ]  # fmt: skip
        print(f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {generator.name}")
        for load in LOADS:
            _measure(servers, generator, exchange, load, folder, options.rounds, options.seconds)
    return 0


def _measure(
    servers: Sequence[Contestant],
    generator: H2load,
    exchange: Exchange,
    load: Load,
    folder: Path,
    rounds: int,
    seconds: float,
) -> None:
    """One load: each server's median, and by how much it is above the first's, round by round."""
    requests = 64 * load.in_flight
    for server in servers:  # warm up
        outcome = generator.run(server.address, exchange, load, requests, folder)
    requests = max(64 * load.in_flight, round(outcome.requests / outcome.wall_s * seconds))
    taken: dict[str, list[float]] = {server.label: [] for server in servers}
    for turn in range(rounds):
        first = turn % len(servers)
        for server in (*servers[first:], *servers[:first]):
            taken[server.label].append(server.cpu_us(generator, exchange, load, requests, folder))
    base = taken[servers[0].label]
    for label, told in taken.items():
        ratios = [100 * (mine / its - 1) for mine, its in zip(told, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        beside = "" if told is base else f"  {middle:+.1f} % (half of the rounds between {low:+.1f} and {high:+.1f} %)"
        print(f"{load.name:>5}  {label:<20} {statistics.median(told):7.2f} µs{beside}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
