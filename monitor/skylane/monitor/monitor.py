"""One pass: read what is new, join it with outcomes, compute figures, report blocks that have ended.

The clock is the caller's: `now` says which blocks have ended and which outcomes are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from skylane.journal.layout import OUTCOMES, segments
from skylane.journal.layout import models as journalled_models
from skylane.monitor import drift_verdicts, performance_figures
from skylane.monitor.ingestion import ingest
from skylane.monitor.journals_of_state import check_journals
from skylane.monitor.progress import Progress
from skylane.monitor.served_models import ServedModels, block_us
from skylane.monitor.state import State

DAY_US: Final = 86_400_000_000
KEPT_US: Final = 400 * DAY_US
"""Age at which rows are removed from the state: a year of blocks and a month can be seen beside each other."""
UNSETTLED_US: Final = 90 * DAY_US
"""Within this time after the latest block, figures may change because time passes, and are computed in every pass."""


@dataclass
class Pass:
    """What one pass did."""

    rows: int = 0
    """New rows of the journal."""
    blocks: int = 0
    """Blocks whose figures were computed anew."""
    reports: int = 0
    """Blocks that were reported: they have ended."""
    models: list[str] = field(default_factory=list)
    """Models with something new."""
    problems: dict[str, str] = field(default_factory=dict)
    """Model → what is wrong with its model.toml or its versions."""


class Monitor:
    """Journals, outcomes and the repository → state. One object for each state. Raises StateUnusable for other journals
    than those that the state was made from.
    """

    def __init__(self, state: State, directories: Sequence[Path], repository: Path) -> None:
        self._state, self._directories = state, [Path(each).absolute() for each in directories]
        self._models = ServedModels(repository)
        check_journals(state, self._directories)
        with state.transaction():
            state.set_about("directories", [str(each) for each in self._directories])

    def run(self, now: int, progress: Progress | None = None) -> Pass:
        """Do one pass. `now`: microseconds since 1970. Raises StateUnusable, JournalError and OSError."""
        check_journals(self._state, self._directories)
        done = Pass()
        for model in sorted({name for directory in self._directories for name in journalled_models(directory)}):
            done.rows += self.read(model, progress)
            self._forget(model, now)
            self._compute(model, now, done, progress)
        for model, problem in self._models.problems.items():
            done.problems[model] = "; ".join(filter(None, (problem, done.problems.get(model))))
        return done

    def read(self, model: str, progress: Progress | None = None) -> int:
        """Read what is new of one model, without computing figures. Returns how many rows."""
        self._models.refresh(model)
        return sum(ingest(self._state, each, model, self._models, progress) for each in self._directories)

    def _forget(self, model: str, now: int) -> None:
        """Rows of old blocks. Counted from the latest block: a replay's events may be years old."""
        blocks = self._state.blocks(model)
        if blocks:
            oldest = min(now, blocks[-1][0]) - KEPT_US
            if blocks[0][0] < oldest:
                with self._state.transaction():
                    self._state.remove_before(model, oldest)

    def _compute(self, model: str, now: int, done: Pass, progress: Progress | None) -> None:
        """Figures and verdicts, unless nothing is new since the last pass."""
        state, length = self._state, block_us(self._models.policy(model))
        before = state.position("computed", "", model) or {}
        signature = self._signature(model, length, now)
        marked = state.marked(model)
        if not marked and signature == before.get("signature"):
            return
        blocks = performance_figures.load(state, self._models, model, self._directories, now)
        answers = self._models.answers_of(model, state.versions(model))
        shown = performance_figures.compute(blocks, blocks, answers, now, length, self._models.horizon_us(model))
        with state.transaction():
            done.reports += performance_figures.store(state, model, shown, now)
            for version in state.versions(model):
                self._judge(model, version, marked, length, now, progress)
            for block in marked:
                state.unmark(model, block)
            state.set_position("computed", "", model, {"signature": signature, "at": now})
        if shown.unusable_words:
            done.problems[model] = shown.unusable_words
        done.blocks += len(blocks)
        done.models.append(model)

    def _judge(
        self, model: str, version: int, marked: Sequence[int], length: int, now: int, progress: Progress | None
    ) -> None:
        """Verdicts of the blocks that changed, of those after them, and of those that have ended since."""
        reference = self._models.reference(model, version)
        if reference is None:
            return
        present = [block for block in self._state.input_blocks(model, version) if block < now]
        judged = {
            block for (of, block), value in self._state.derived(model, drift_verdicts.KIND).items()
            if of == version and value["closed"]
        }  # fmt: skip
        chosen: set[int] = {block for block in present if block not in judged}
        for place, block in enumerate(present):
            if block in marked:
                chosen.update(present[place : place + drift_verdicts.HISTORY + 1])
        drift_verdicts.update(
            self._state, model, version, sorted(chosen), reference, block_us=length, now=now, progress=progress
        )

    def _signature(self, model: str, length: int, now: int) -> Any:
        """What the figures depend on besides new rows: the outcomes on disk, and which blocks have ended."""
        files = [
            [str(segment.name), segment.size]
            for directory in self._directories
            for segment in segments(directory / OUTCOMES / model)
        ]
        last = self._state.blocks(model)[-1:]
        still_open = bool(last) and now < last[0][0] + length + UNSETTLED_US
        return {"outcomes": files, "now": now if still_open else None}
