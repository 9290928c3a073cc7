"""The file that `skylane bench capacity` writes."""

from typing import Literal

from skylane.bench.lab.capacity.search import Step, Verdict
from skylane.bench.lab.record import Record, RunRecord


class Capacity(Record, frozen=True, kw_only=True):
    """The highest rate of one model under one policy, with its evidence."""

    model: str
    version: int
    policy: str
    """Where it comes from."""
    policy_toml: str | None
    """The whole of it; None for a server that was not started here."""
    alone_per_s: float
    """What the generator does against a server that does nothing."""
    verdict: Verdict
    steps: tuple[Step, ...]


class CapacityRun(RunRecord, frozen=True, kw_only=True):
    """One run. `settings`: target_p99_ms, lost_percent_max, precision_percent, seconds, votes."""

    schema: Literal[2] = 2
    kind: Literal["skylane bench capacity"] = "skylane bench capacity"
    address: str | None
    """Of the server; None for servers that were started for it."""
    rows: int
    """In each request."""
    requests: str
    """Which rows they have, in words."""
    capacities: tuple[Capacity, ...]
