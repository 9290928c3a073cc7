"""What a run has done: a small JSON file for each partition, and one for the whole run."""

import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from skylane.score.selection import ScoreError
from skylane.score.sinks import write_whole

PARTITIONS: Final = "partitions"
"""Directory of the partitions' records."""
SCHEMA: Final = 1


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


R = TypeVar("R", bound=_Record)


class Environment(_Record, frozen=True, kw_only=True):
    """What may change the last bit of an answer besides the version."""

    skylane: str
    processor: str
    """Its architecture and model."""
    onnxruntime: str
    intra_op_threads: int
    pyarrow: str
    """Another release may write other bytes for the same values."""

    @classmethod
    def here(cls, intra_op_threads: int) -> "Environment":
        """Of this process."""
        return cls(
            skylane=version_of("skylane"),
            processor=f"{platform.machine()} {_processor()}".strip(), onnxruntime=version_of("onnxruntime"),
            intra_op_threads=intra_op_threads, pyarrow=version_of("pyarrow"),
        )  # fmt: skip


class RunRecord(_Record, frozen=True, kw_only=True):
    """What all partitions of an output directory have in common."""

    schema: Literal[1] = SCHEMA
    model: str
    version: int
    identity: str
    """Of the version's graph and interface."""
    columns: tuple[str, ...] | None
    """Of the input that are written; null: all."""
    features: tuple[str, ...]
    prefix: str
    format: str | None
    """Of the outputs; null: that of each input."""
    environment: Environment


class PartitionRecord(_Record, frozen=True, kw_only=True):
    """One input file and its output."""

    schema: Literal[1] = SCHEMA
    input_sha256: str
    output: str
    """Relative to the output directory."""
    output_sha256: str
    rows: int
    rejected: int
    rejected_sha256: str | None
    """Of the file with the rejected rows; null if there is none."""


class Records:
    """The records of one run, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read_run(self) -> RunRecord | None:
        """The record of an earlier run; None if there is none. Raises ScoreError."""
        return _read(self._directory / "run.json", RunRecord)

    def write_run(self, record: RunRecord) -> None:
        """Say what the outputs have in common."""
        write_whole(self._directory / "run.json", _encoded(record))

    def has_partitions(self) -> bool:
        """Whether any partition was completed."""
        return any(self._directory.joinpath(PARTITIONS).rglob("*.json"))

    def read_partition(self, relative: str) -> PartitionRecord | None:
        """The record of a partition; None if it was not completed. Raises ScoreError."""
        return _read(self._partition_path(relative), PartitionRecord)

    def write_partition(self, relative: str, record: PartitionRecord) -> None:
        """Say that a partition is complete."""
        write_whole(self._partition_path(relative), _encoded(record))

    def _partition_path(self, relative: str) -> Path:
        return self._directory / PARTITIONS / f"{relative}.json"


def difference(before: RunRecord, now: RunRecord) -> str | None:
    """The first thing in which two runs differ, in words; None if they are the same."""
    for name in RunRecord.__struct_fields__:
        if name == "environment":
            continue
        if (was := getattr(before, name)) != (wanted := getattr(now, name)):
            return f"{name} {was!r}, and this run {wanted!r}"
    for name in Environment.__struct_fields__:
        if (was := getattr(before.environment, name)) != (wanted := getattr(now.environment, name)):
            return f"{name} {was!r}, and this machine has {wanted!r}"
    return None


def _encoded(record: _Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScoreError(f"{path}: {error}; remove the output directory, or score into another one") from error


def _processor() -> str:
    """The processor's model, where Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
