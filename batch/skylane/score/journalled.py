"""What was asked of a model, from the journal: the rows of `skylane score journal:MODEL`."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal import JournalError
from skylane.journal.predictions import COLUMNS, TIME, Capture, as_read, capture_of
from skylane.journal.segment_content import SegmentContent
from skylane.journal.tables import contents, missing_column
from skylane.score.selection import ScoreError
from skylane.score.sources import Format, batches_of_size

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
        digest = _digest(self)
        for content in _contents(self):
            _add_name(digest, content)
            for batch in content.batches():
                _add(digest, batch)
        return str(digest.hexdigest())

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
        self._digest = _digest(source)
        self._segments: Final = set[Any]()
        """Names of the segments that are read. What a server begins meanwhile belongs to the next run."""
        schemas = []
        for content in _contents(source):
            self._segments.add((content.segment.path.parent, content.segment.name))
            schemas.append(_schema(content, source.inputs))
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
            yield from batches_of_size(self._read())
        except JournalError as error:
            raise ScoreError(str(error)) from error

    def begin_hash(self, _pool: Executor, _stop: Event, /) -> Callable[[], str]:
        """See Rows. A server may append to the journal at any time: the hash is of the batches as they are read."""
        return lambda: str(self._digest.hexdigest())

    def _read(self) -> Iterator[pa.RecordBatch]:
        for content in _contents(self._source):
            if (content.segment.path.parent, content.segment.name) not in self._segments:
                continue
            _add_name(self._digest, content)
            for whole in content.batches():
                _add(self._digest, whole)
                yield self._flat(self._in_time(as_read(whole, [*COLUMNS, "inputs", "outputs"])))

    def _in_time(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for bound, compare in ((self._source.since, pc.greater_equal), (self._source.until, pc.less)):
            if bound is not None:
                batch = batch.filter(compare(batch.column("happened_at"), pa.scalar(bound, TIME)))
        return batch

    def _flat(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {name: batch.column(name) for name in ASKED} | {SERVED_VERSION: batch.column("version")}
        for prefix, struct in ((SERVED, batch.column("outputs")), ("", batch.column("inputs"))):
            for field in struct.type:
                columns[prefix + field.name] = pc.struct_field(struct, field.name)
        arrays = [
            columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(batch), field.type)
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _digest(source: JournalSource) -> Any:
    return hashlib.sha256(repr((source.since, source.until)).encode())


def _add_name(digest: Any, content: SegmentContent) -> None:
    digest.update(str(content.segment.name).encode())


def _add(digest: Any, batch: pa.RecordBatch) -> None:
    for buffer in (buffer for column in batch.columns for buffer in column.buffers() if buffer is not None):
        digest.update(buffer)


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
