"""The file that `skylane bench tune` writes."""

from typing import Literal

from skylane.bench.lab.capacity.search import Step
from skylane.bench.lab.record import Record, RunRecord
from skylane.bench.lab.tune.search import Score


class Trial(Record, frozen=True, kw_only=True):
    """One search for the highest rate under one policy."""

    stage: int
    round: int
    policy: str
    """What differs from the policy that the model had."""
    changes: dict[str, bool | int | float]
    """section.key → value."""
    score: Score
    steps: tuple[Step, ...]


class TuneRun(RunRecord, frozen=True, kw_only=True):
    """One run. `settings`: target_p99_ms, lost_percent_max, seconds, steps_max, last_rounds."""

    schema: Literal[2] = 2
    kind: Literal["skylane bench tune"] = "skylane bench tune"
    model: str
    version: int
    rows: int
    """In each request."""
    requests: str
    """Which rows they have, in words."""
    alone_per_s: float
    """What the generator does against a server that does nothing."""
    result: str
    """In a sentence."""
    before_toml: str
    after_toml: str | None
    """What would be better; None if nothing was."""
    written: bool
    trials: tuple[Trial, ...]
