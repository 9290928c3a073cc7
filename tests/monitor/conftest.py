"""A small repository and journal: a classifier that nobody converted, so that tests need neither training nor ONNX."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skylane.monitor.state import State
from support.written_journal import WrittenJournal

DAY_US = 86_400_000_000
HOUR_US = DAY_US // 24
START_US = 15_000 * DAY_US
"""Midnight UTC."""

MODEL_TOML = """\
[monitor]
journal = true
keep = ["*", "carrier"]
classes = ["on time", "late"]
positive = "late"
segments = ["carrier"]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one model's policy."""
    folder = tmp_path / "models" / "flights"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(MODEL_TOML)
    return folder.parent


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[WrittenJournal]:
    """A journal without rows."""
    written = WrittenJournal(tmp_path / "journal", "flights")
    yield written
    written.close()


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    """Where a state may be made."""
    return tmp_path / "monitor.sqlite"


@pytest.fixture
def state(state_path: Path) -> Iterator[State]:
    """A new state."""
    with State(state_path) as opened:
        yield opened


Day = Callable[..., str]


@pytest.fixture
def day(journal: WrittenJournal) -> Day:
    """Writes the rows of one day, with honest probabilities, and returns the call's id."""

    def write(number: int, rows: int = 60, *, labelled: int | None = None, version: int = 1, **more: Any) -> str:
        random = np.random.default_rng(number)
        late = random.uniform(0.05, 0.6, rows)
        came = random.random(rows) < late
        inputs = {
            "distance": random.normal(1000, 300, rows),
            "carrier": random.choice(["AA", "UA"], rows).astype(object),
        }
        outputs = {"label": np.where(late > 0.5, "late", "on time").astype(object),
                   "probabilities": np.column_stack([1 - late, late]).astype(np.float32)}  # fmt: skip
        at = START_US + number * DAY_US + 6 * HOUR_US
        name = journal.predict(inputs, outputs, at, version=version, **more)
        known = rows if labelled is None else labelled
        labels = ["late" if each else "on time" for each in came[:known]]
        journal.record(name, labels, at + 5 * HOUR_US)
        return name

    return write
