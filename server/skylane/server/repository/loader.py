"""A version's directory → a model that may serve: verified, loaded, checked against its golden rows, and timed."""

import math
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np

from skylane import manifest as manifests
from skylane.dtypes import NUMPY, DType
from skylane.manifest import BrokenVersion, IncompleteVersion, Manifest, OutputSpec
from skylane.policy import Policy
from skylane.server.core.types import Array, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository import foreign_layouts
from skylane.server.runtime.session import OnnxSession, TimeLimit, graph_of
from skylane.version_files import VersionFiles

LOAD_S_MAX = 120.0
"""After which a load is given up, unless the settings say otherwise."""

GOLDEN_TOLERANCE = 1e-4
"""Largest accepted difference of a golden answer, absolute and relative: another CPU adds in another order."""

TIMED_SIZES = (1, 8, 64, 256, 1024)
TIMED_ROUNDS = 5
TIMED_S_MAX = 0.25
"""Sizes beyond the first that takes longer than this are not timed: they would only delay the start."""


Run = Callable[[Sequence[Array]], Sequence[Array]]
"""Runs the graph: inputs → outputs, both in the interface's order."""


def load(
    directory: Path,
    name: str,
    version: int,
    policy: Policy,
    clock: Callable[[], float] = time.perf_counter,
    time_limit_s: float = LOAD_S_MAX,
) -> LoadedModel:
    """Load one version. Raises BrokenVersion saying what is wrong with which file."""
    with TimeLimit(time_limit_s) as limit, _opened(directory) as files:
        manifest = manifests.decode(files.manifest_json)
        if (manifest.model, manifest.version) != (name, version):
            raise BrokenVersion(
                f"manifest.json: it is of {manifest.model} version {manifest.version}, not of {name} version {version};"
                " `skylane models copy` publishes a version under another name or number"
            )
        manifests.check_identity(manifest, files.manifest_json, files.sha256[manifests.MODEL_FILE])
        interface = Interface.of(manifest)
        session = _session(files, interface, policy, limit)
        files.check_unchanged()

        def run(inputs: Sequence[Array]) -> Sequence[Array]:
            return limit.run(session, inputs)

        try:
            empty, cost = _tried(run, manifest, policy, clock)
        except BrokenVersion as error:
            if limit.exceeded:
                raise BrokenVersion(
                    f"model.onnx: its golden rows and the timing of its runs have not ended after {time_limit_s:g} s"
                ) from error
            raise
    return LoadedModel(
        interface=interface, runner=session, cost=cost, empty=empty, manifest_json=files.manifest_json,
        memory_bytes=session.memory_bytes,
    )  # fmt: skip


def _opened(directory: Path) -> VersionFiles:
    """The files, verified. Of a directory that another server or tool wrote, it says what to do."""
    try:
        return VersionFiles(directory, root=directory.parent.parent)
    except IncompleteVersion as error:
        if advice := foreign_layouts.advice(directory):
            raise IncompleteVersion(advice) from error
        raise


def _session(files: VersionFiles, interface: Interface, policy: Policy, limit: TimeLimit) -> OnnxSession:
    try:
        graph = graph_of(files.model, files.model_bytes, may_refer_to_files=files.may_refer_to_files)
    except OSError as error:
        raise BrokenVersion(f"model.onnx: cannot be read: {error.strerror}") from error
    return OnnxSession(graph, interface, policy.session, limit)


def _tried(
    run: Run, manifest: Manifest, policy: Policy, clock: Callable[[], float]
) -> tuple[tuple[Array, ...], CostModel]:
    """Outputs for no rows, and what runs cost, of a graph that answers its golden rows as the manifest promises."""
    inputs = _golden_inputs(manifest)
    _check_golden(manifest, _run(run, inputs))
    empty = _empty_outputs(run, inputs, manifest)
    rows_max = policy.batching.max_batch_rows
    sizes = sorted({*(size for size in TIMED_SIZES if size < rows_max), rows_max})
    try:
        return empty, measure(run, inputs, sizes, clock)
    except Exception as error:  # whatever the runtime raises, or the memory that such a batch needs
        raise BrokenVersion(f"model.onnx: it fails on {sizes[0]} to {sizes[-1]} rows: {error}") from error


def measure(run: Run, inputs: Sequence[Array], sizes: Sequence[int], clock: Callable[[], float]) -> CostModel:
    """Time runs of these many rows, the given rows repeated; the best of a few rounds, since noise only adds."""
    measured: list[tuple[int, float]] = []
    for rows in sizes:
        batch = [np.resize(array, (rows, *array.shape[1:])) for array in inputs]
        best = math.inf
        for _ in range(TIMED_ROUNDS + 1):  # the first is the warm-up; a slow one is enough
            started_at = clock()
            run(batch)
            best = min(best, clock() - started_at)
            if best > TIMED_S_MAX:
                break
        measured.append((rows, best))
        if best > TIMED_S_MAX:
            break
    return CostModel(measured)


def _run(run: Run, inputs: Sequence[Array]) -> Sequence[Array]:
    try:
        return run(inputs)
    except Exception as error:  # whatever the runtime raises
        raise BrokenVersion(f"model.onnx: it fails on its own golden rows: {error}") from error


def _golden_inputs(manifest: Manifest) -> list[Array]:
    inputs = []
    for spec in manifest.tensors:
        rows = manifest.golden.inputs.get(spec.name)
        if not rows:
            raise BrokenVersion(f"manifest.json: golden: it has no rows for tensor {spec.name!r}")
        array = _array(rows, spec.dtype, f"inputs of {spec.name!r}")
        try:
            # An open size is that of the rows; of rows that are written flat there can be one.
            given = array.shape[1:] if array.ndim == len(spec.shape) else (-1,) * len(spec.shape[1:])
            sizes = (size or actual for size, actual in zip(spec.shape[1:], given, strict=True))
            inputs.append(array.reshape(len(rows), *sizes))
        except ValueError as error:
            raise BrokenVersion(f"manifest.json: golden: inputs of {spec.name!r}: {error}") from error
    return inputs


def _check_golden(manifest: Manifest, outputs: Sequence[Array]) -> None:
    for spec, output in zip(manifest.outputs, outputs, strict=True):
        rows = manifest.golden.outputs.get(spec.name)
        if rows is None:
            raise BrokenVersion(f"manifest.json: golden: it has no answers for output {spec.name!r}")
        if len(output.shape) != len(spec.shape) or any(
            wanted not in (size, None) for wanted, size in zip(spec.shape, output.shape, strict=True)
        ):
            raise BrokenVersion(
                f"manifest.json: outputs: it promises {spec.name!r} of shape {list(spec.shape)}, "
                f"but the graph gives {list(output.shape)}"
            )
        expected = _array(rows, spec.dtype, f"answers of {spec.name!r}")
        if expected.shape != output.shape or not _agree(expected, output, spec):
            row = _first_that_differs(expected, output, spec)
            raise BrokenVersion(
                f"golden rows: output {spec.name!r} differs from what the manifest promises, first in row {row}: "
                f"expected {_short(expected[row:])}, the graph gives {_short(output[row:])}{_other_runtime(manifest)}"
            )


def _first_that_differs(expected: Array, output: Array, spec: OutputSpec) -> int:
    """Index of a row; 0 if the shapes differ already."""
    rows = range(len(expected)) if expected.shape == output.shape else range(0)
    return next((row for row in rows if not _agree(expected[row], output[row], spec)), 0)


def _other_runtime(manifest: Manifest) -> str:
    """The likely reason, and what to do, where the graph was checked with another ONNX Runtime than this one."""
    there, here = manifest.lineage.libraries.get("onnxruntime"), version_of("onnxruntime")
    if there in (None, here):
        return ""
    return f"; it was made with ONNX Runtime {there}, this is {here}: run that one, or convert the model again"


def _agree(expected: Array, output: Array, spec: OutputSpec) -> bool:
    if output.dtype.kind == "f":
        return np.allclose(output, expected, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE, equal_nan=True)
    return np.array_equal(output.astype(NUMPY[spec.dtype]), expected)


def _empty_outputs(run: Run, inputs: Sequence[Array], manifest: Manifest) -> tuple[Array, ...]:
    """The outputs for no rows. Graphs differ in whether they run without any, so the shapes are taken from a few."""
    for rows in (1, 2):
        outputs = _run(run, [np.resize(array, (rows, *array.shape[1:])) for array in inputs])
        for spec, output in zip(manifest.outputs, outputs, strict=True):
            if output.shape[:1] != (rows,):
                raise BrokenVersion(
                    f"model.onnx: output {spec.name!r} has shape {output.shape} for {rows} rows: not a row each"
                )
    return tuple(output[:0] for output in outputs)


def _array(rows: Sequence[object], dtype: DType, what: str) -> Array:
    """Values of a manifest as an array; null is NaN."""
    try:
        array = np.array(rows, dtype=object)
        if dtype != "string":
            array[array == None] = np.nan  # noqa: E711 - elementwise
        return array.astype(NUMPY[dtype])
    except (ValueError, TypeError, OverflowError) as error:
        raise BrokenVersion(f"manifest.json: golden: {what}: {error}") from error


def _short(array: Array) -> str:
    return np.array2string(array.ravel()[:4], precision=6, threshold=4) + ("…" if array.size > 4 else "")
