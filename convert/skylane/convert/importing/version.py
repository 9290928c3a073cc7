"""A verified graph → a version in the repository: its interface, golden rows, profile, times and origin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import numpy as np

import skylane.convert.publishing.card as card
from skylane.convert.errors import BadRows, Unconvertible
from skylane.convert.export.session import Session
from skylane.convert.importing.graph import Graph, read_graph
from skylane.convert.importing.interface import columns_of, outputs_of, task_of
from skylane.convert.importing.sample import Rows
from skylane.convert.importing.verify import Verified, rows_for, verify
from skylane.convert.inspection.schema import Array
from skylane.convert.publishing.lineage import lineage_of_graph
from skylane.convert.publishing.profile import profile_of_tensors
from skylane.convert.publishing.store import numbered, put, put_as
from skylane.convert.verification.golden_rows import ROWS as GOLDEN_ROWS
from skylane.convert.verification.golden_rows import json_rows
from skylane.convert.verification.timing import latencies
from skylane.manifest import ColumnSpec, Golden, Imported, Manifest, OutputSpec, TensorSpec, Tolerance, identity_of
from skylane.profile import Profile

RowsOf = Callable[[Sequence[TensorSpec]], Rows]

GOLDEN_VALUES_MAX: Final = 200_000
"""Bound on the values of all golden rows, about 2 MB of JSON: large images get fewer rows."""

OPSET_MIN: Final = 7
"""The oldest operator set that ONNX Runtime supports completely."""

PROFILE_ROWS: Final = 20_000
ANSWERED_AT_ONCE: Final = 256

TIMED_SIZES: Final = (1, 64)
TIMED_US_MAX: Final = 2e6
"""A batch that is expected to take longer is not timed."""


@dataclass(frozen=True)
class Source:
    """Where a graph comes from, for the manifest."""

    kind: Literal["onnx", "triton", "mlflow"]
    file: str
    """The file's path, relative to what was imported."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportedVersion:
    """A version that is in the repository now."""

    name: str
    version: int
    path: Path
    created: bool
    """False if the same version had been published before."""
    manifest: Manifest

    alone: bool = False
    """Whether each request must run alone, because a row's answer depends on the others of its batch."""


def import_graph(
    path: Path,
    name: str,
    repository: Path,
    source: Source,
    *,
    rows_of: RowsOf | None = None,
    columns: Sequence[str] = (),
    version: int | None = None,
    batched: bool = True,
    allow_dependent: bool = False,
) -> ImportedVersion:
    """Publish an ONNX file as a version of a model; without a number, as the next one.

    `rows_of` reads the sample for the graph's inputs; without it random rows are made. `columns` are the names of the
    only input's columns, for a sample that names none. `batched`: whether rows of several callers will share a run,
    which requires that rows are independent unless `allow_dependent` is set. Raises ConversionError.
    """
    graph = read_graph(path)
    session = _session(graph)
    rows = rows_for(graph, session) if rows_of is None else rows_of(graph.inputs)
    verified = verify(graph, session, replace(rows, names=rows.names or tuple(columns)))
    dependent = verified.difference is not None
    if dependent and batched and not allow_dependent:
        raise Unconvertible(
            f"a row's answer depends on the other rows of its batch ({verified.difference}), and here requests share "
            f"batches{_because(graph)}: pass --no-batching to run each request alone, or --allow-dependent-rows if "
            f"such differences do not matter"
        )
    manifest = _manifest(name, graph, verified, source, allow_dependent)
    if version is None:
        number, directory, created = put(repository, graph.content, manifest, card.page)
    else:
        number, manifest = version, numbered(manifest, version)
        directory, created = put_as(repository, graph.content, manifest, card.page)
    alone = dependent and not allow_dependent
    return ImportedVersion(name, number, directory, created, numbered(manifest, number), alone)


def _because(graph: Graph) -> str:
    """The likely reason why rows depend on each other."""
    if "DynamicQuantizeLinear" in graph.operators:
        return " (it is quantized dynamically, so that a batch's largest number decides how all are rounded)"
    return " (export it for inference: in PyTorch, model.eval() before the export)"


def _session(graph: Graph) -> Session:
    """Raises Unconvertible if ONNX Runtime does not load the graph."""
    try:
        return Session(graph.content)
    except Unconvertible as error:
        if graph.opset >= OPSET_MIN:
            raise
        raise Unconvertible(
            f"{error}; the graph uses opset {graph.opset}, of which ONNX Runtime has few operators: try what "
            f"onnx.version_converter.convert_version(model, 17) makes of it"
        ) from error


def _manifest(name: str, graph: Graph, verified: Verified, source: Source, allow_dependent: bool) -> Manifest:
    rows, session = verified.rows, verified.session
    outputs = outputs_of(graph, verified.outputs)
    columns = columns_of(graph.inputs, rows)
    imported = Imported(
        source=source.kind,
        file=source.file,
        rows=rows.source,
        verified_rows=verified.verified_rows,
        rows_independent=verified.difference is None if verified.compared else None,
        changes=graph.changes,
        latency_us=_times(session, rows),
    )
    return Manifest(
        model=name,
        version=1,
        identity=identity_of(sha256(graph.content).hexdigest(), graph.inputs, columns, outputs),
        task=task_of(outputs),
        tensors=graph.inputs,
        columns=columns,
        outputs=outputs,
        tolerance=Tolerance(preset="exact", max_difference=0.0, max_label_flips=0.0),
        candidates=(),
        notes=(*source.notes, *graph.notes, *_notes(imported, verified, allow_dependent)),
        imported=imported,
        profile=_profile(graph.inputs, columns, verified, outputs) if rows.source == "sample" else None,
        lineage=lineage_of_graph(graph.producer, graph.sha256),
        golden=_golden(graph.inputs, verified),
    )


def _notes(imported: Imported, verified: Verified, allow_dependent: bool) -> list[str]:
    notes = []
    if imported.rows == "random":
        notes.append(
            "no sample was given: golden rows are random ones, and there is no profile to compare requests with; "
            "pass --sample to have both of real rows"
        )
    if not verified.compared:
        notes.append(
            "whether rows are independent of each other was not verified: the sample has no two rows that differ"
        )
    if verified.difference is not None:
        advice = "which was allowed" if allow_dependent else "so keep max_batch_rows = 1"
        notes.append(f"a row's answer depends on the other rows of its batch ({verified.difference}), {advice}")
    return notes


def _times(session: Session, rows: Rows) -> dict[str, float]:
    """Microseconds of one run for each batch size, except for sizes that would take too long."""
    times: dict[str, float] = {}
    for size in TIMED_SIZES:
        expected_us = times.get("1", 0.0) * size
        if expected_us <= TIMED_US_MAX:
            times |= latencies([(session.run, rows.arrays)], (size,))[0]
    return times


def _golden(inputs: Sequence[TensorSpec], verified: Verified) -> Golden:
    """Some of the verified rows with their answers. Rows with an infinity are left out, because JSON has none."""
    places = np.unique(np.linspace(0, len(verified.rows) - 1, verified.verified_rows).astype(int))
    given = {spec.name: verified.rows.arrays[spec.name][places] for spec in inputs}
    finite = np.ones(len(places), np.bool_)
    for array in (*given.values(), *verified.outputs.values()):
        if array.dtype.kind == "f":
            finite &= ~np.isinf(array.reshape(len(array), -1)).any(axis=1)
    left = np.flatnonzero(finite)
    if not len(left):
        raise BadRows("every row has an infinity, or gets one for an answer: give rows without (--sample)")
    values = sum(array[:1].size for array in (*given.values(), *verified.outputs.values()))
    count = max(1, min(GOLDEN_ROWS, GOLDEN_VALUES_MAX // max(values, 1)))
    chosen = left[np.unique(np.linspace(0, len(left) - 1, count).astype(int))]
    kept = {name: array[chosen] for name, array in given.items()}
    answers = verified.session.named(kept)
    return Golden(
        inputs={name: json_rows(array) for name, array in kept.items()},
        outputs={name: json_rows(array) for name, array in answers.items()},
    )


def _profile(
    inputs: Sequence[TensorSpec], columns: Sequence[ColumnSpec], verified: Verified, outputs: Sequence[OutputSpec]
) -> Profile:
    """The profile of evenly spaced rows of the sample, and of the answers to them."""
    places = np.unique(np.linspace(0, len(verified.rows) - 1, PROFILE_ROWS).astype(int))
    arrays = {name: array[places] for name, array in verified.rows.arrays.items()}
    named = {(column.tensor, column.index): column.name for column in columns}
    columns_by_name: dict[str, Array] = {}
    omitted = 0
    for spec in inputs:
        array = arrays[spec.name]
        if array.ndim > 2:
            omitted += array[0].size
            continue
        flat = array.reshape(len(array), -1)
        for index in range(flat.shape[1]):
            columns_by_name[named.get((spec.name, index)) or place_name(inputs, spec, index)] = flat[:, index]
    return profile_of_tensors(columns_by_name, omitted, _answers(verified.session, arrays, len(places)), outputs)


def place_name(inputs: Sequence[TensorSpec], spec: TensorSpec, index: int) -> str:
    """The name given to a column without one."""
    if spec.shape[1:] in ((), (1,)):
        return spec.name
    return str(index) if len(inputs) == 1 else f"{spec.name}:{index}"


def _answers(session: Session, arrays: Mapping[str, Array], rows: int) -> dict[str, Array]:
    parts = [
        session.named({name: array[start : start + ANSWERED_AT_ONCE] for name, array in arrays.items()})
        for start in range(0, rows, ANSWERED_AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
