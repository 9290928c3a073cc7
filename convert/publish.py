"""The whole way, from a fitted pipeline to a published version. What authors call from Python."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import pandas as pd

from convert.batches import batches_of
from convert.choose import Quantize, preset_of, why_outside
from convert.conversion import Conversion, Say, convert
from convert.describe import describe, identity
from convert.errors import BadArgument, BadRows
from convert.lineage import lineage
from convert.schema import Array
from convert.store import numbered, put, read, versions
from skylane.manifest import Candidate, Manifest

NOISE: Final = 1.25
"""Two timings of the same graph on a busy machine may differ by this factor."""


@dataclass(frozen=True)
class Published:
    """A version that is in the repository now."""

    version: int
    path: Path
    created: bool
    """False if a version with the same content was there already: that one is meant."""
    manifest: Manifest
    """As published; if the version is an older one, as it would have been."""
    conversion: Conversion

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All graphs that were tried, losers too."""
        return self.manifest.candidates


def publish(
    estimator: Any,
    rows: pd.DataFrame | Array,
    *,
    name: str,
    repository: Path = Path("models"),
    target: "Array | pd.Series[Any] | str | None" = None,
    tolerance: str = "close",
    quantize: Quantize = "auto",
    batches: str = "1,64",
    metrics: Mapping[str, float] | None = None,
    data_sha256: str | None = None,
    pipeline_sha256: str | None = None,
    force: bool = False,
    say: Say = lambda _: None,
) -> Published:
    """Convert a fitted estimator, verify it on held-out rows, and publish the fastest graph within the tolerance.

    `rows` are rows that the estimator was not trained on, in the form that it takes; a few thousand are enough.
    `target`, the truth about them or the name of the column that has it, makes accuracy or R² part of the gate.
    `tolerance` is "exact", "close" or "quantized"; "quantized:0.01" lets it cost so much of accuracy or R². `quantize`
    is "auto", "never" or "require". `batches` are the sizes that callers send, "1,64" or with shares "1:80,64:20": the
    fastest graph for them is published. `metrics` are the task's own figures, for the record. `say` is told each step
    as it begins. Takes seconds; raises ConversionError.
    """
    _check(name, repository, quantize, data_sha256)
    preset, max_metric_drop = preset_of(tolerance)
    profile = batches_of(batches)
    rows, truth = _split_target(rows, target)
    if max_metric_drop is not None and truth is None:
        raise BadArgument(f"tolerance {tolerance!r} is about accuracy or R², which takes the truth: give the target")
    conversion = convert(
        estimator,
        rows,
        target=truth,
        tolerance=preset,
        quantize=quantize,
        force=force,
        say=say,
        max_metric_drop=max_metric_drop,
        batches=profile,
    )
    conversion = _steady(conversion, name, repository, quantize)
    origin = lineage(
        estimator,
        pipeline_sha256=pipeline_sha256,
        data_sha256=data_sha256,
        metrics=metrics or {},
        code=Path.cwd(),
    )
    say("publishing")
    graph = conversion.tried[conversion.chosen].built.content
    manifest = describe(conversion, name, origin)
    version, path, created = put(repository, graph, manifest)
    return Published(version, path, created, numbered(manifest, version), conversion)


def _steady(conversion: Conversion, name: str, repository: Path, quantize: Quantize) -> Conversion:
    """Keep to the candidate of the newest version where another one won by no more than noise.

    Without this, publishing one pipeline twice could make two versions, by the clock's whim.
    """
    newest = next((manifest for _, path in versions(repository, name) if (manifest := read(path)) is not None), None)
    if newest is None:
        return conversion
    cost = conversion.batches.cost
    best = cost(conversion.verdicts[conversion.chosen].latency_us)
    for index, verdict in enumerate(conversion.verdicts):
        if (
            (verdict.quantized or quantize != "require")
            and why_outside(verdict.parity, conversion.tolerance) is None
            and cost(verdict.latency_us) <= best * NOISE
            and identity(conversion, index) == newest.identity
        ):
            return replace(conversion, chosen=index)
    return conversion


def _check(name: str, repository: Path, quantize: str, data_sha256: str | None) -> None:
    """Fail before the work, not after it."""
    versions(repository, name)
    if quantize not in get_args(Quantize):
        raise BadArgument(f"quantize {quantize!r} is not known: choose auto, never or require")
    if data_sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", data_sha256):
        raise BadArgument(f"data_sha256 {data_sha256[:70]!r} is not a SHA-256: expected 64 digits of 0-9 and a-f")


def _split_target(
    rows: pd.DataFrame | Array, target: "Array | pd.Series[Any] | str | None"
) -> tuple[pd.DataFrame | Array, Array | None]:
    if target is None:
        return rows, None
    if isinstance(target, str):
        if not isinstance(rows, pd.DataFrame) or target not in rows.columns:
            raise BadRows(f"there is no column {target!r} to take the target from")
        return rows.drop(columns=target), rows[target].to_numpy()
    truth = np.asarray(target)
    if len(truth) != len(rows):
        raise BadRows(f"the target has {len(truth)} values for {len(rows)} rows")
    return rows, truth
