"""What a person sees while it runs: a bar and the last figures on a terminal, plain lines in a log."""

import sys
from types import TracebackType
from typing import Final, Self

from rich import progress as bars
from rich.console import Console

from skylane.bench.saturation.report import WIDTH, number, time_of
from skylane.bench.saturation.results import Sample

REDRAWS_PER_S: Final = 2
"""Drawing costs CPU on the machine that is measured."""


class Progress:
    """Tells what is being done. Nothing is decided here."""

    def __init__(self) -> None:
        self.out = Console(width=None if sys.stdout.isatty() else WIDTH)
        self._err = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
        self._bar = bars.Progress(
            bars.BarColumn(30),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.description}", markup=False),
            console=self._err,
            refresh_per_second=REDRAWS_PER_S,
            transient=True,
            disable=not self._err.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, samples: int) -> None:
        """So many samples will come."""
        self._bar.reset(self._task, total=samples)

    def tell(self, news: Sample | str) -> None:
        """A sample is there, or something begins."""
        if isinstance(news, str):
            self._bar.update(self._task, description=news)
            return
        self._bar.advance(self._task)
        self._print(
            f"{news.scenario:13} {news.load:5} {news.contender:26} {number(news.requests_per_s):>7} req/s "
            f"p50 {time_of(news.p50_us):>7}  p99 {time_of(news.p99_us):>7}  CPU {time_of(news.cpu_us):>7}"
        )

    def say(self, text: str) -> None:
        """A step begins."""
        self._bar.update(self._task, description=text)
        if not self._err.is_terminal:
            self._print(text)

    def failed(self, why: str) -> None:
        """There will be no result."""
        self._err.print(f"bench: {why}", style="red", highlight=False, markup=False, soft_wrap=True)

    def _print(self, text: str) -> None:
        self._err.print(text, highlight=False, markup=False, overflow="ignore", crop=False)
