"""One pass: read what is new, join it with outcomes, compute the figures of blocks that changed, report blocks that ended.

The clock is the caller's: `now` says until when a block lasts and which outcomes are known.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from skylane import outcomes
from skylane.journal import models_of
from skylane.monitor import drift_verdicts
from skylane.monitor.ingestion import ingest
from skylane.monitor.performance_figures import PerformanceFigures
from skylane.monitor.served_models import ServedModels, block_us
from skylane.monitor.state import State
from skylane.monitor.view import ModelView
from skylane.monitor.views import view_of

GRACE_US: Final = 60_000_000
"""A block is reported so long after it has ended: a server writes its rows at most some seconds later."""


@dataclass
class Pass:
    """What one pass did."""

    rows: int = 0
    blocks: int = 0
    """Blocks whose figures were computed anew."""
    reports: int = 0
    models: list[str] = field(default_factory=list)


class Monitor:
    """Journals, outcomes and the repository → state. One object for each state."""

    def __init__(self, state: State, directories: Sequence[Path], repository: Path) -> None:
        self._state, self._directories = state, [Path(each).absolute() for each in directories]
        self._models = ServedModels(repository)
        with state.transaction():
            state.set_about("directories", [str(each) for each in self._directories])

    def run(self, now: int) -> Pass:
        """Do one pass. `now`: microseconds since 1970. Raises StateUnusable."""
        done = Pass()
        for model in sorted({name for directory in self._directories for name in models_of(directory)}):
            self._models.refresh(model)
            done.models.append(model)
            for directory in self._directories:
                ingested = ingest(self._state, directory, model, self._models)
                done.rows += ingested.rows
            self._compute(model, now, done)
        return done
