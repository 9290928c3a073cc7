"""What counting requests costs: one server that counts, one that does not, one that is scraped as well.

    python -m skylane.bench.experiments.statistics_cost --models models --model diabetes

See `skylane.bench.experiments.cpu_comparison`. The server that does not count is this one with the recording
taken out when it starts; the name of a call's protocol is still set. There are two of it: as much as they differ, the
others may differ without a reason.
"""

import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from skylane.bench.client.generator import choose
from skylane.bench.experiments.cpu_comparison import SERVER, parser, started
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.servers import Kind

WITHOUT: Final = """
import sys
from skylane.server.engine.statistics import Statistics
for name in ("answered", "hit", "followed", "had_no_rows", "failed"):
    setattr(Statistics, name, lambda *_: None)
from skylane.server.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
SCRAPE_S: Final = 1.0
"""Prometheus scrapes every 15 s by default; once a second is a busy setup."""


@contextmanager
def scraped(url: str) -> Iterator[None]:
    """The metrics are scraped inside the block."""
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
    options = parser("python -m skylane.bench.experiments.statistics_cost", __doc__.partition("\n")[0]).parse_args(argv)
    generator, starts = choose("auto"), {
        "not counted": ("-c", WITHOUT), "not counted, once more": ("-c", WITHOUT),
        "counted": ("-m", "skylane.server"), "counted and scraped": ("-m", "skylane.server"),
    }  # fmt: skip
    kinds = [Kind(label, "grpc", (*start, *SERVER)) for label, start in starts.items()]
    with started(options, kinds) as side_by_side:
        server = side_by_side.servers["counted and scraped"]
        with scraped(f"http://127.0.0.1:{server.http_port}"):
            print(f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {generator.name}")
            side_by_side.compare(generator, list(starts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
