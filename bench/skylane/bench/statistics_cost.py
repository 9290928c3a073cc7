"""What it costs that requests are counted: one server that counts, one that does not, one that is scraped as well.

    python -m skylane.bench.statistics_cost --models models --model diabetes

See bench/side_by_side.py. The server that does not count is this one with the recording taken out when it starts; the
name of a call's protocol is still set. There are two of it: by what they differ, so may the others without a reason.
The model is served without its cache, since a kept answer costs less to count than a batch.
"""

import argparse
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from skylane.bench.generator import H2load, Load
from skylane.bench.side_by_side import LOADS, Contestant, compare, exchange_of, running, without_cache
from skylane.bench.stopping import sigterm_interrupts

WITHOUT: Final = """
import sys
from skylane.server.engine.statistics import Statistics
for name in ("answered", "hit", "followed", "had_no_rows", "failed"):
    setattr(Statistics, name, lambda *_: None)
from skylane.server.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
SCRAPE_S: Final = 1.0
"""Prometheus asks every 15 s where nobody says otherwise; once a second is what an impatient one does."""


@contextmanager
def scraped(url: str) -> Iterator[None]:
    """Somebody asks for the metrics inside the block."""
    ended = threading.Event()
    scraper = threading.Thread(target=_scrape, args=(f"{url}/metrics", ended))
    scraper.start()
    try:
        yield
    finally:
        ended.set()
        scraper.join()


def _scrape(url: str, ended: threading.Event) -> None:
    while not ended.wait(SCRAPE_S):
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.statistics_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="diabetes", help="a small one, where counting weighs most")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each server, in each round, under each load")
    options = parser.parse_args(argv)
    generator, exchange = H2load(), exchange_of(options.models, options.model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = without_cache(options.models, options.model, folder / "models")

        def send(address: str, load: Load, requests: int) -> float:
            return generator.run(address, exchange, load, requests, folder).wall_s

        contestants = []
        for label, start in (
            ("not counted", ["-c", WITHOUT]), ("not counted, once more", ["-c", WITHOUT]),
            ("counted", ["-m", "skylane.server"]), ("counted and scraped", ["-m", "skylane.server"]),
        ):  # fmt: skip
            server = stack.enter_context(running([sys.executable, "-P", *start], models))
            contestants.append(Contestant(label, server.pid, server.address, send))
        stack.enter_context(scraped(server.http))
        print(f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {generator.name}")
        for load in LOADS:
            compare(contestants, load, options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
