"""Progress and results on a terminal, or as plain lines in a log. Knows rich; decides nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from skylane.cli.diff import diff_text
from skylane.compare import changes
from skylane.convert.publishing.publish import Published
from skylane.convert.publishing.report import show
from skylane.manifest import CARD_FILE

PLAIN_WIDTH = 120
"""Columns of a line where nobody can say how wide the terminal is."""


class Reporter:
    """Tells a person what is being done, and what came of it."""

    def __init__(self, *, quiet: bool = False) -> None:
        # A log has no width: rich would fold tables at 80 columns.
        self._out = Console(quiet=quiet, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        self._progress = Console(quiet=quiet, stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)
        self._errors = Console(stderr=True, soft_wrap=True)
        self._steps: Progress | None = None
        self._name = ""

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """While this is open, each step is shown with its time: on a terminal as it runs, elsewhere as lines."""
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
        """A step begins."""
        if self._steps is None:
            self._progress.print(f"{self._name}: {step}", highlight=False, markup=False)
            return
        for task in self._steps.tasks:
            self._steps.update(task.id, total=1, completed=1)
        self._steps.add_task(escape(step), total=None)

    def explained(self, text: str) -> None:
        """The graph's nodes."""
        self._out.print(text, highlight=False, markup=False)

    def published(self, published: Published) -> None:
        """Everything about a version that is in the repository now."""
        show(published.conversion, self._out)
        what = "published as" if published.created else "nothing new: the same content is already"
        name = published.manifest.model
        if published.before is not None:
            found = changes(published.before, published.manifest)
            text = diff_text(published.before, published.manifest, found)
            self._out.print(text, highlight=False, markup=False, soft_wrap=True)
            self._out.print()
        self._out.print(f"{name}: {what} version {published.version} in {published.path}", highlight=False)
        if published.created:
            self._out.print(f"its model card: {published.path / CARD_FILE}\n", highlight=False)

    def note(self, text: str) -> None:
        """Something that the author should know."""
        self._out.print(f"note: {text}", highlight=False, markup=False)

    def failed(self, message: str) -> None:
        """Why it did not work, and what to do."""
        self._errors.print(f"error: {message}", highlight=False, markup=False, style="red")
