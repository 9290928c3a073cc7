"""Shows the progress and the result of a conversion on a terminal, or as plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from skylane.cli.diff import diff_text
from skylane.compare import changes
from skylane.convert.publishing.publish import Published
from skylane.convert.publishing.report import show
from skylane.convert.publishing.store import outcome
from skylane.manifest import CARD_FILE

PLAIN_WIDTH: Final = 120
"""Width of a line, in characters, where the output is not a terminal: rich would fold tables at 80 columns."""


def results_console(*, quiet: bool = False, highlight: bool = True, markup: bool = True) -> Console:
    """The console for results on stdout, as wide as the terminal."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(quiet=quiet, width=width, highlight=highlight, markup=markup)


class Reporter:
    """Prints progress to stderr and results to stdout."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._out = results_console(quiet=quiet)
        self._progress = Console(quiet=quiet, stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)
        self._errors = Console(stderr=True, soft_wrap=True)
        self._steps: Progress | None = None
        self._name = ""

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Show each step with its time: updated in place on a terminal, as a line per step elsewhere."""
        self._name = name
        started_at = time.perf_counter()
        if self._progress.is_terminal:
            columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*columns, console=self._progress, transient=True) as self._steps:
                yield
            self._steps = None
        else:
            yield
        self._progress.print(f"{name}: done in {time.perf_counter() - started_at:.1f} s", highlight=False)

    def say(self, step: str) -> None:
        """Report that a step begins."""
        if self._steps is None:
            self._progress.print(f"{self._name}: {step}", highlight=False, markup=False)
            return
        for task in self._steps.tasks:
            self._steps.update(task.id, total=1, completed=1)
        self._steps.add_task(escape(step), total=None)

    def explained(self, text: str) -> None:
        """Print the table of the graph's nodes."""
        self._out.print(text, highlight=False, markup=False)

    def published(self, published: Published) -> None:
        """Print the result: candidates, changes since the previous version, and where the version is."""
        show(published.conversion, self._out)
        name = published.manifest.model
        if published.before is not None:
            differences = changes(published.before, published.manifest)
            text = diff_text(published.before, published.manifest, differences)
            self._out.print(text, highlight=False, markup=False, soft_wrap=True)
            self._out.print()
        self._out.print(
            f"{name}: {outcome(created=published.created)} version {published.version} in {published.path}",
            highlight=False,
        )
        if published.created:
            self._out.print(f"its model card: {published.path / CARD_FILE}\n", highlight=False)

    def note(self, text: str) -> None:
        """Print a note to the author."""
        self._out.print(f"note: {text}", highlight=False, markup=False)

    def failed(self, message: str) -> None:
        """Print an error."""
        self._errors.print(f"error: {message}", highlight=False, markup=False, style="red")
