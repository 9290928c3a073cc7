"""What `skylane bench knee` leaves behind: the file's schema, and writing it."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from skylane.bench.lab.knee.search import Step, Verdict
from skylane.bench.machine import Machine


class Knee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class Knees(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one run."""

    schema: Literal[1] = 1
    kind: Literal["skylane bench knee"] = "skylane bench knee"
    started_at: str
    """ISO 8601, UTC."""
    took_s: float
    commit: str
    machine: Machine
    libraries: dict[str, str]
    address: str | None
    """Of the server; None for servers that were started for it."""
    rows: int
    """In each request."""
    asked: str
    """Which rows, in words."""
    settings: dict[str, Any]
    """target_p99_ms, lost_percent_max, precision_percent, seconds, votes."""
    knees: tuple[Knee, ...]


def save(found: Knees, path: Path) -> None:
    """Write it as indented JSON. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
