"""Loads one version: verifies its files, creates its session, checks its golden rows and measures what runs cost."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from skylane import manifest as manifests
from skylane.manifest import BrokenVersion, IncompleteVersion, Manifest
from skylane.policy import Policy
from skylane.server.core.types import Array, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository import foreign_layouts
from skylane.server.repository.cost_measurement import TIMED_SIZES, Run, measure_cost
from skylane.server.repository.golden_check import check_golden_outputs, golden_inputs
from skylane.server.runtime.session import OnnxSession, TimeLimit, graph_of
from skylane.version_files import VersionFiles

log = logging.getLogger(__name__)

LOAD_S_MAX = 120.0
"""Time limit of a load, unless the settings set another."""


def load_version(
    directory: Path,
    name: str,
    version: int,
    policy: Policy,
    clock: Callable[[], float] = time.perf_counter,
    time_limit_s: float = LOAD_S_MAX,
) -> LoadedModel:
    """Load one version. Raises BrokenVersion saying what is wrong with which file."""
    with TimeLimit(time_limit_s) as limit, _verified_files(directory) as files:
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
            empty, cost = _checked_and_timed(run, manifest, policy, clock)
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


def _verified_files(directory: Path) -> VersionFiles:
    """The files, verified against their checksums. For the layout of another server, the error says what to do."""
    try:
        return VersionFiles(directory, root=directory.parent.parent)
    except IncompleteVersion as error:
        if advice := foreign_layouts.advice(directory):
            # Clients read the error, too, and must not learn where the server keeps its files.
            importing = foreign_layouts.command(directory)
            log.warning("%s/%s: `%s` makes a version of it", directory.parent.name, directory.name, importing)
            raise IncompleteVersion(advice) from error
        raise


def _session(files: VersionFiles, interface: Interface, policy: Policy, limit: TimeLimit) -> OnnxSession:
    try:
        graph = graph_of(files.model, files.model_bytes, may_refer_to_files=files.may_refer_to_files)
    except OSError as error:
        raise BrokenVersion(f"model.onnx: cannot be read: {error.strerror}") from error
    return OnnxSession(graph, interface, policy.session, limit)


def _checked_and_timed(
    run: Run, manifest: Manifest, policy: Policy, clock: Callable[[], float]
) -> tuple[tuple[Array, ...], CostModel]:
    """Check the golden rows; return the outputs for zero rows and the cost of runs. Raises BrokenVersion."""
    inputs = golden_inputs(manifest)
    check_golden_outputs(manifest, _run(run, inputs))
    empty = _empty_outputs(run, inputs, manifest)
    rows_max = policy.batching.max_batch_rows
    sizes = sorted({*(size for size in TIMED_SIZES if size < rows_max), rows_max})
    try:
        return empty, measure_cost(run, inputs, sizes, clock)
    except Exception as error:  # whatever the runtime raises, or the memory that such a batch needs
        raise BrokenVersion(f"model.onnx: it fails on {sizes[0]} to {sizes[-1]} rows: {error}") from error


def _run(run: Run, inputs: Sequence[Array]) -> Sequence[Array]:
    try:
        return run(inputs)
    except Exception as error:  # whatever the runtime raises
        raise BrokenVersion(f"model.onnx: it fails on its own golden rows: {error}") from error


def _empty_outputs(run: Run, inputs: Sequence[Array], manifest: Manifest) -> tuple[Array, ...]:
    """The outputs for zero rows. Not every graph runs without rows: the shapes are taken from runs of one and two."""
    for rows in (1, 2):
        outputs = _run(run, [np.resize(array, (rows, *array.shape[1:])) for array in inputs])
        for spec, output in zip(manifest.outputs, outputs, strict=True):
            if output.shape[:1] != (rows,):
                raise BrokenVersion(
                    f"model.onnx: output {spec.name!r} has shape {output.shape} for {rows} rows: not a row each"
                )
    return tuple(output[:0] for output in outputs)
