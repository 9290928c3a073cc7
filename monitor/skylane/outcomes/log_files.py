"""Reads the log of outcomes from its segments: one that is being written up to its last complete batch."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from skylane.journal import layout
from skylane.journal.segment_content import load
from skylane.manifest import MODEL_NAME
from skylane.outcomes.schema import LOG

Directories = str | Path | Sequence[str | Path]


def log_directory(directory: Path, model: str) -> Path:
    """Where the log of a model is. Raises ValueError for what is no model's name."""
    if not MODEL_NAME.fullmatch(model):
        raise ValueError(f"model: expected the name of a model, received {model!r}")
    return directory / layout.OUTCOMES / model


def read_log(directories: Directories, model: str) -> Any:
    """Every record of a model's log, as in schema.LOG, of all directories together. Raises JournalError.

    A segment that lies in two of the directories is read once.
    """
    paths = [directories] if isinstance(directories, str | Path) else directories
    found = {each.name: each for path in paths for each in layout.segments(log_directory(Path(path), model))}
    tables = list(_tables(found[name] for name in sorted(found)))
    return pa.concat_tables(tables) if tables else LOG.empty_table()


def newest_tables(directory: Path) -> Iterator[Any]:
    """The records of each segment of one log, the newest segment first. Raises JournalError."""
    return _tables(reversed(layout.segments(directory)))


def _tables(segments: Iterable[layout.Segment]) -> Iterator[Any]:
    for segment in segments:
        content = load(segment)
        if content is not None and content.rows:
            yield content.table(LOG.names).cast(LOG).replace_schema_metadata(None)


def known_writers(directory: Path) -> set[str]:
    """The names of the processes whose predictions are in a directory."""
    found = set[str]()
    for model in layout.models(directory, layout.PREDICTIONS):
        found |= {segment.name.writer for segment in layout.segments(directory / layout.PREDICTIONS / model)}
    return found
