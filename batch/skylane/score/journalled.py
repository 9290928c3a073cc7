"""What was asked of a model, from the journal: the rows of `skylane score journal:MODEL`."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal import JournalError
from skylane.journal.predictions import COLUMNS, TIME, Capture, as_read, capture_of
from skylane.journal.segment_content import SegmentContent
from skylane.journal.tables import contents, missing_column
from skylane.score.frames import BATCH_ROWS
from skylane.score.selection import ScoreError
from skylane.score.sources import Format

PREFIX: Final = "journal:"

ASKED: Final = ("prediction_id", "row", "request_id", "happened_at", "event_at", "entity", "cached", "degraded")
"""Columns of the journal that are copied as they are."""
SERVED_VERSION: Final = "served_version"
SERVED: Final = "served:"
"""Before the names of the outputs that were served: those with one value for a row."""


@dataclass(frozen=True)
class JournalSource:
    """The predictions of one model in one or several journals."""

    directories: tuple[Path, ...]
    model: str
    inputs: tuple[str, ...]
    """Columns that the version takes which scores them now."""
    relative: str
    """The name of the output."""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def path(self) -> Path:
        """The first journal."""
        return self.directories[0]

    @property
    def format(self) -> Format:
        """Of the output."""
        return "parquet"

    def sha256(self) -> str:
        """Of the segments, in order, and of the times between which rows are taken."""
        digest = hashlib.sha256(repr((self.since, self.until)).encode())
        for content in _contents(self):
            digest.update(content.segment.path.name.encode())
            for batch in content.batches():
                for buffer in (buffer for column in batch.columns for buffer in column.buffers() if buffer is not None):
                    digest.update(buffer)
        return digest.hexdigest()

    def renamed(self, relative: str) -> "JournalSource":
        """The same, for an output of another name."""
        return replace(self, relative=relative)

    def open(self) -> "JournalReader":
        """Raises ScoreError if the journal lacks a column that is needed."""
        return JournalReader(self)


class JournalReader:
    """The rows of a model in the order of their segments. See sources.Reader."""

    def __init__(self, source: JournalSource) -> None:
        self._source = source
        self.unreadable: Final[list[str]] = []
        self.texts: Final[frozenset[str]] = frozenset()
        self.rows: int | None = None
        schemas = [_schema(content, source.inputs) for content in _contents(source)]
        if not schemas:
            raise ScoreError(
                f"input: the journal has no rows of {source.model!r}: {', '.join(map(str, source.directories))}"
            )
        try:
            self.schema: Final = pa.unify_schemas(schemas, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ScoreError(
                f"input: the types of a column differ between the versions that were served: {error}"
            ) from error
        self.file_schema: Final = self.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Raises ScoreError for a segment that cannot be read."""
        try:
            for content in _contents(self._source):
                for whole in content.batches():
                    yield from self._parts(self._in_time(as_read(whole, [*COLUMNS, "inputs", "outputs"])))
        except JournalError as error:
            raise ScoreError(str(error)) from error

    def _in_time(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for bound, compare in ((self._source.since, pc.greater_equal), (self._source.until, pc.less)):
            if bound is not None:
                batch = batch.filter(compare(batch.column("happened_at"), pa.scalar(bound, TIME)))
        return batch

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        columns = {name: batch.column(name) for name in ASKED} | {SERVED_VERSION: batch.column("version")}
        for prefix, struct in ((SERVED, batch.column("outputs")), ("", batch.column("inputs"))):
            for field in struct.type:
                columns[prefix + field.name] = pc.struct_field(struct, field.name)
        arrays = [
            columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(batch), field.type)
            for field in self.schema
        ]
        flat = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        for start in range(0, len(flat), BATCH_ROWS):
            yield flat.slice(start, BATCH_ROWS)


def _contents(source: JournalSource) -> Iterator[SegmentContent]:
    try:
        yield from contents(source.directories, source.model)
    except JournalError as error:
        raise ScoreError(str(error)) from error


def _schema(content: SegmentContent, inputs: Sequence[str]) -> pa.Schema:
    """The columns of a segment's rows. Raises ScoreError for an input that was not kept as it was."""
    capture = capture_of(content.schema)
    _check(capture, inputs)
    read = as_read(content.empty(), [*COLUMNS, "inputs", "outputs"]).schema
    served = [
        field.with_name(SERVED + field.name)
        for field in read.field("outputs").type
        if not pa.types.is_fixed_size_list(field.type)
    ]
    asked = [_plain(read.field(name)) for name in ASKED]
    given = [field for field in read.field("inputs").type if field.name in inputs]
    return pa.schema([*asked, pa.field(SERVED_VERSION, pa.int64()), *served, *given])


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _check(capture: Capture, inputs: Sequence[str]) -> None:
    for name in inputs:
        treatment = capture.treatment(name)
        if treatment == "hashed":
            raise ScoreError(
                f"column {name!r} of {capture.model}/{capture.version} is in the journal as a hash: to score its rows "
                f'again, write keep = ["*", "{name}"] under [monitor] in {capture.model}/model.toml'
            )
        if treatment != "kept":
            raise ScoreError(str(missing_column(name, {(capture.model, capture.version): capture})))
