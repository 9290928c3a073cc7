"""Predictions as they are captured and as columns: what the server hands in, what a segment stores, what readers get.

A segment belongs to one writer, model, version and treatment of columns, so these are in its schema's metadata, and ids
are stored as the number of the call. Readers get the columns in `COLUMNS`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal.columns import Column
from skylane.journal.id_columns import id_column
from skylane.journal.segment_writer import WRITER_KEY

MODEL_KEY: Final = b"skylane.model"
VERSION_KEY: Final = b"skylane.version"
CAPTURE_KEY: Final = b"skylane.capture"

TIME: Final = pa.timestamp("us", "UTC")
WORD: Final = pa.dictionary(pa.int32(), pa.string())
COLUMNS: Final = {
    "prediction_id": pa.string(), "row": pa.uint32(), "request_id": pa.string(), "happened_at": TIME, "event_at": TIME,
    "model": WORD, "version": pa.int64(), "arm": WORD, "degraded": WORD, "cached": pa.bool_(),
    "probability": pa.float64(), "protocol": WORD, "entity": pa.string(),
}  # fmt: skip
"""The columns beside `inputs` and `outputs`, which are structs with a field for each column or output."""
NAMES: Final = (*COLUMNS, "inputs", "outputs")
STORED: Final = {"prediction_id": "call", "model": None, "version": None}
"""Columns that are not stored as they are: what they are made from, beside the metadata."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What is journalled of one version: constant while it is loaded and its [monitor] unchanged."""

    model: str
    version: int
    columns: tuple[Column, ...]
    """Every column of the inputs, also those that are not kept."""
    entity: str | None = None
    """The column that names whom or what a row is about; hashed if that column is."""
    event_time: str | None = None
    """The column with the time of the event: texts in ISO 8601 with a zone, or numbers, seconds since 1970."""

    def treatment(self, name: str) -> str:
        """Whether the column is kept, hashed or dropped."""
        return self._treatments.get(name, "dropped")

    @functools.cached_property
    def _treatments(self) -> dict[str, str]:
        return {column.name: column.treatment for column in self.columns}

    @functools.cached_property
    def metadata(self) -> dict[bytes, bytes]:
        """What the schema of a segment says about its rows."""
        described = {
            "columns": {column.name: [column.treatment, column.reason] for column in self.columns},
            "entity": self.entity,
            "event_time": self.event_time,
        }
        return {
            MODEL_KEY: self.model.encode(),
            VERSION_KEY: str(self.version).encode(),
            CAPTURE_KEY: json.dumps(described).encode(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows of some calls that were answered by one version. The first six sequences have one value for each call;
    None stands for a column of nulls, a single value for equal ones. Arrays are kept by reference until they are
    written, so they must not change.
    """

    capture: Capture
    calls: Sequence[int] | Array
    """The numbers of the calls, as in their prediction ids."""
    counts: Sequence[int] | Array
    """How many rows each call has."""
    happened_at_us: Sequence[int] | Array | int
    """Microseconds since 1970."""
    request_ids: Sequence[str | None] | None = None
    protocols: Sequence[str] | str = "grpc"
    cached: Sequence[bool] | Array | bool = False
    arm: str | None = None
    degraded: str | None = None
    """Why the answer is not the one of the version that was asked for."""
    probability: float = 1.0
    """The probability with which these calls were sampled."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Column → values of all rows, in the order of the calls: NumPy or Arrow arrays, of any type that Arrow has."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Output → values, of shape (rows,) or (rows, values)."""

    @property
    def rows(self) -> int:
        """Rows of all calls."""
        return int(np.asarray(self.counts).sum())

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; of texts in NumPy arrays only the references."""
        return int(sum(values.nbytes for columns in (self.inputs, self.outputs) for values in columns.values()))


def capture_of(schema: pa.Schema) -> Capture:
    """What is journalled, from the schema of a segment."""
    described = json.loads(schema.metadata[CAPTURE_KEY])
    return Capture(
        model=schema.metadata[MODEL_KEY].decode(),
        version=int(schema.metadata[VERSION_KEY]),
        columns=tuple(Column(name, *treatment) for name, treatment in described["columns"].items()),
        entity=described["entity"],
        event_time=described["event_time"],
    )


def stored_names(names: Sequence[str]) -> list[str]:
    """The columns of a segment that these columns are made from."""
    return [stored for name in names if (stored := STORED.get(name, name)) is not None]


def as_read(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """A batch of a segment, with the columns that readers get. Its schema's metadata is the segment's."""
    meta = batch.schema.metadata
    columns = [_as_read(batch, name, meta) for name in names]
    fields = [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _as_read(batch: pa.RecordBatch, name: str, meta: Mapping[bytes, bytes]) -> pa.Array:
    if name == "prediction_id":
        return id_column(meta[WRITER_KEY].decode(), batch.column("call").to_numpy())
    if name == "model":
        indices = pa.array(np.zeros(batch.num_rows, np.int32))
        return pa.DictionaryArray.from_arrays(indices, pa.array([meta[MODEL_KEY].decode()]))
    if name == "version":
        return pa.array(np.full(batch.num_rows, int(meta[VERSION_KEY]), np.int64))
    return batch.column(name)
