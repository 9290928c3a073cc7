"""What is shown while the baselines are measured: a bar on a terminal, and a line for each sample."""

import time

from rich.console import Console, RenderableType
from rich.text import Text

from skylane.bench.lab.baselines.record import Sample
from skylane.bench.lab.output.live import Current, Screen, progress_row, us_text
from skylane.bench.lab.output.numbers import number


class BaselinesScreen(Screen[Current]):
    """A bar over all samples."""

    def __init__(self, console: Console) -> None:
        self._total = self._done = 0
        self._began_at = time.monotonic()
        super().__init__(console)

    def begin(self, samples: int) -> None:
        """So many samples will come."""
        self._total, self._began_at = samples, time.monotonic()

    def report(self, news: Sample | str) -> None:
        """A sample has been measured, or the next begins."""
        if isinstance(news, str):
            self._status = news
            return
        self._done += 1
        self._print(
            f"{news.scenario:13} {news.load:5} {news.contestant:26} {number(news.requests_per_s):>7} req/s "
            f"p50 {us_text(news.p50_us):>7}  p99 {us_text(news.p99_us):>7}  CPU {us_text(news.cpu_us):>7}"
        )

    def frame(self) -> RenderableType:
        if not self._total:
            return super().frame()
        left_s = (time.monotonic() - self._began_at) / max(self._done, 1) * (self._total - self._done)
        left = f"about {left_s / 60:.0f} min left" if self._done else ""
        return progress_row(self._total, self._done, f"{self._done}/{self._total}", left, Text(self._status, "dim"))
