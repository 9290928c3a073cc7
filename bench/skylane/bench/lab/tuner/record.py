"""What `skylane bench tune` leaves behind: the file's schema, and writing it."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from skylane.bench.lab.knee.search import Step
from skylane.bench.lab.tuner.race import Score
from skylane.bench.machine import Machine


class Tried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One search for the highest rate under one policy."""

    heat: int
    round: int
    policy: str
    """What differs from the policy that the model had."""
    changes: dict[str, bool | int | float]
    """section.key → value."""
    score: Score
    steps: tuple[Step, ...]


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one run."""

    schema: Literal[1] = 1
    kind: Literal["skylane bench tune"] = "skylane bench tune"
    started_at: str
    """ISO 8601, UTC."""
    took_s: float
    commit: str
    machine: Machine
    libraries: dict[str, str]
    model: str
    version: int
    rows: int
    """In each request."""
    asked: str
    """Which rows, in words."""
    settings: dict[str, Any]
    alone_per_s: float
    """What the generator does against a server that does nothing."""
    said: str
    """The result, in a sentence."""
    before_toml: str
    after_toml: str | None
    """What would be better; None if nothing was."""
    written: bool
    tried: tuple[Tried, ...]


def save(found: Tuning, path: Path) -> None:
    """Write it as indented JSON. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
