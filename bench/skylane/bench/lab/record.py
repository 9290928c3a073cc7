"""What every run of the lab leaves behind: what all files have in common, writing one and reading it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import msgspec

from skylane.bench.host import machine


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class RunRecord(Record, frozen=True, kw_only=True):
    """How it was measured. Each kind of run adds what it measured."""

    started_at: str
    """ISO 8601, UTC."""
    took_s: float
    commit: str
    """Revision of the code that measured; ends in `+` if files differed from it."""
    machine: machine.Machine
    libraries: dict[str, str]
    settings: dict[str, Any]


class Conditions(TypedDict):
    """The fields of a RunRecord but its settings."""

    started_at: str
    took_s: float
    commit: str
    machine: machine.Machine
    libraries: dict[str, str]


class RunStart:
    """The start of a run. The machine's load is read here, before the run adds its own."""

    def __init__(self) -> None:
        self.at, self.machine, self._began_at = datetime.now(UTC), machine.machine(), time.monotonic()
        self._commit = machine.commit()

    def conditions(self) -> Conditions:
        """Call it when the run has ended."""
        return Conditions(
            started_at=self.at.isoformat(timespec="seconds"),
            took_s=round(time.monotonic() - self._began_at, 1),
            commit=self._commit,
            machine=self.machine,
            libraries=machine.libraries(),
        )


Run = TypeVar("Run", bound=RunRecord)


def path_of(run: RunRecord, out: Path, name: str) -> Path:
    """Where a run is saved: its name and when it started."""
    return out / f"{name}-{datetime.fromisoformat(run.started_at):%Y%m%d-%H%M%S}.json"


def save(run: RunRecord, path: Path) -> None:
    """Write it as indented JSON. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def load(path: Path, kind: type[Run]) -> Run:
    """Read one. Raises OSError, or msgspec.ValidationError naming the field."""
    return msgspec.json.decode(path.read_bytes(), type=kind)
