"""Records of a version → the rows that the journal writes: arrays joined as wholes, columns by their names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from skylane.journal import Capture, Column, Rows, treatments
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Monitor
from skylane.server.core.types import Array, Interface
from skylane.server.recording.recorder import Part, Record

ROWS_AT_ONCE: Final = 16_384
"""Rows that are joined, or a few more."""


@dataclass(frozen=True)
class Source:
    """Where the values of one column are: a column of a tensor, or a whole tensor."""

    name: str
    tensor: int
    column: int | None
    is_text: bool


class RowsOfVersion:
    """Makes rows of the records of one version."""

    def __init__(self, interface: Interface, monitor: Monitor) -> None:
        self._sources = sources_of(interface)
        specs: list[TensorSpec | OutputSpec] = [*interface.tensors, *interface.outputs]
        self._shapes_vary = any(None in spec.shape[1:] for spec in specs)
        self._outputs = tuple(output.name for output in interface.outputs)
        self.capture = _capture(interface, monitor, self._sources)
        named = {monitor.entity, monitor.event_time}
        self._needed = [
            source
            for source in self._sources
            if self.capture.treatment(source.name) != "dropped" or source.name in named
        ]

    def rows(self, records: Iterable[Record]) -> list[Rows]:
        """The rows of all records, of which those that can be together are."""
        together: dict[tuple[Any, ...], list[Record]] = {}
        counts: dict[tuple[Any, ...], int] = {}
        complete: list[list[Record]] = []
        for record in records:
            form = (record.probability, *_shapes(record)) if self._shapes_vary else (record.probability,)
            together.setdefault(form, []).append(record)
            counts[form] = counts.get(form, 0) + record.rows
            if counts[form] >= ROWS_AT_ONCE:
                complete.append(together.pop(form))
                del counts[form]
        return [self._joined(each) for each in (*complete, *together.values())]

    def _joined(self, records: Sequence[Record]) -> Rows:
        inputs = _stacked([record.inputs for record in records])
        outputs = _stacked([piece for record in records for piece in record.outputs])
        parts = [part for record in records for part in record.parts]
        counts = np.repeat([part.rows_each for part in parts], [part.calls for part in parts])
        each = [record.calls for record in records]
        input_rows = output_rows = None
        if any(record.cached for record in records):
            input_rows = _chosen([(len(record.inputs[0]), record.input_rows) for record in records])
            output_rows = _chosen([(_length(record), record.output_rows) for record in records])
        return Rows(
            capture=self.capture,
            calls=_numbers([record.first for record in records], each),
            counts=counts,
            happened_at_us=np.repeat([int(record.at * 1e6) for record in records], each),
            request_ids=_request_ids(parts),
            protocols=_protocols(parts),
            cached=np.repeat([record.cached for record in records], each),
            probability=records[0].probability,
            inputs={source.name: _column(inputs[source.tensor], source.column, input_rows) for source in self._needed},
            outputs={name: _output(array, output_rows) for name, array in zip(self._outputs, outputs, strict=True)},
        )


def sources_of(interface: Interface) -> list[Source]:
    """Where the columns of a model's inputs are; a tensor without columns counts as one."""
    if interface.columns:
        places = {tensor.name: place for place, tensor in enumerate(interface.tensors)}
        return [
            Source(column.name, places[column.tensor], column.index, column.dtype == "string")
            for column in interface.columns
        ]
    return [
        Source(tensor.name, place, 0 if tensor.shape[1:] == (1,) else None, tensor.dtype == "string")
        for place, tensor in enumerate(interface.tensors)
    ]


def _capture(interface: Interface, monitor: Monitor, sources: Sequence[Source]) -> Capture:
    columns = treatments({source.name: source.is_text for source in sources}, monitor.keep, monitor.drop, monitor.hash)
    wide = {source.name for source in sources if source.column is None and len(_sizes(interface, source)) > 0}
    return Capture(
        model=interface.model,
        version=interface.version,
        columns=tuple(_without_hash(column) if column.name in wide else column for column in columns),
        entity=monitor.entity,
        event_time=monitor.event_time,
    )


def _sizes(interface: Interface, source: Source) -> tuple[int | None, ...]:
    return tuple(interface.tensors[source.tensor].shape[1:])


def _without_hash(column: Column) -> Column:
    """A row of a tensor without columns has several values, which have no hash together."""
    if column.treatment != "hashed":
        return column
    return Column(column.name, "dropped", "[monitor] hash names it, and a row of it has several values")


def _shapes(record: Record) -> tuple[Any, ...]:
    """What arrays must have in common to be joined, for types are those of the interface."""
    return tuple([array.shape[1:] for array in (*record.inputs, *record.outputs[0])])


def _stacked(pieces: Sequence[Sequence[Array]]) -> list[Array]:
    if len(pieces) == 1:
        return list(pieces[0])
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def _length(record: Record) -> int:
    return sum([len(piece[0]) for piece in record.outputs])


def _numbers(firsts: Sequence[int], counts: Sequence[int]) -> Array:
    """For each count that many numbers, from the first one on."""
    ends = np.cumsum(counts)
    numbers: Array = np.repeat(np.array(firsts, np.int64) - ends + counts, counts) + np.arange(ends[-1])
    return numbers


def _chosen(arrays: Sequence[tuple[int, Array | None]]) -> Array:
    """Rows of stacked arrays that are given as (length, rows of it, or None for all)."""
    chosen, start = [], 0
    for length, rows in arrays:
        chosen.append(start + (np.arange(length) if rows is None else rows))
        start += length
    return np.concatenate(chosen)


def _protocols(parts: Sequence[Part]) -> Sequence[str] | str:
    """Of each call; one if they are the same, as they mostly are."""
    different = {part.protocol for part in parts}
    return different.pop() if len(different) == 1 else [part.protocol for part in parts for _ in range(part.calls)]


def _request_ids(parts: Sequence[Part]) -> list[str | None] | None:
    if all(part.request_ids is None for part in parts):
        return None
    return [each for part in parts for each in part.request_ids or [None] * part.calls]


def _column(tensor: Array, column: int | None, rows: Array | None) -> Array:
    values: Array = tensor if column is None else tensor.reshape(len(tensor), -1)[:, column]
    return values if rows is None else values[rows]


def _output(array: Array, rows: Array | None) -> Array:
    values = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return values if rows is None else values[rows]
