"""The Python API: convert_pipeline, the report that it returns, and publish."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd

import skylane.convert.publishing.card as card
from skylane import reference as references
from skylane.convert.errors import BadArgument, BadRows
from skylane.convert.export.explain import explained
from skylane.convert.inspection.schema import Array, Layout, dense, infer
from skylane.convert.loading.rows_file import near
from skylane.convert.publishing import lineage
from skylane.convert.publishing.conversion import Conversion, Say, convert, with_newest
from skylane.convert.publishing.describe import describe
from skylane.convert.publishing.profile import Profiled, profile
from skylane.convert.publishing.reference import importances_of, reliability_of
from skylane.convert.publishing.reference import reference as reference_of
from skylane.convert.publishing.report import as_text
from skylane.convert.publishing.store import has_reference, numbered, put, put_reference, read, versions
from skylane.convert.publishing.times import block_seconds, seconds_of
from skylane.convert.verification.batch_mix import batches_of
from skylane.convert.verification.choose import Quantize, preset_of
from skylane.convert.verification.gate import CHUNK_ROWS
from skylane.convert.verification.interface import published_contract
from skylane.convert.verification.target import check_target
from skylane.manifest import Candidate, Lineage, Manifest
from skylane.profile import Profile
from skylane.reference import Reference, Reliability

Rows = pd.DataFrame | Array

UNNAMED: Final = "unnamed"
"""The model's name in a report before it is published."""


@dataclass(frozen=True)
class Published:
    """The published version."""

    version: int
    path: Path
    created: bool
    """False if a version with the same content already existed; `version` and `path` are then its own."""
    manifest: Manifest
    """The manifest as published; if an existing version is returned, as it would have been."""
    conversion: Conversion
    before: Manifest | None = None
    """Manifest of the previous newest version, if there was one."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All candidate graphs, including those that were not chosen."""
        return self.manifest.candidates


@dataclass(frozen=True)
class Report:
    """The result of a conversion, not published yet. In a notebook it is displayed as the model card."""

    conversion: Conversion
    lineage: Lineage
    profile: Profile
    reference: Reference | None = None
    """What drift is judged by; None if the times of the rows were not given."""

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest as it would be published."""
        return describe(self.conversion, UNNAMED, self.lineage, self.profile)

    @property
    def graph(self) -> bytes:
        """The chosen graph as the content of an ONNX file."""
        return self.conversion.tried[self.conversion.chosen].built.content

    @property
    def table(self) -> pd.DataFrame:
        """A row for each candidate: size, times, differences, and the result."""
        return pd.DataFrame([_flat(candidate) for candidate in self.manifest.candidates]).set_index("name")

    def explain(self) -> str:
        """The chosen graph's nodes as a table, each with the pipeline step that it comes from."""
        return explained(self.graph, self.conversion.estimator)

    def save(self, path: Path | str) -> None:
        """Write the model card as one self-contained HTML file."""
        Path(path).write_text(card.page(self.manifest), "utf-8")

    def publish(self, name: str, repository: Path | str = Path("models")) -> Published:
        """Publish the graph as the next version of a model. Raises BadArgument or Unwritable."""
        repository = Path(repository)
        newest = _newest(repository, name)
        conversion = self.conversion if newest is None else with_newest(self.conversion, published_contract(newest))
        manifest = describe(conversion, name, self.lineage, self.profile)
        graph = conversion.tried[conversion.chosen].built.content
        reference = None
        if self.reference is not None:
            reference = references.encode(references.with_identity(self.reference, manifest.identity))
        version, path, created = put(repository, graph, manifest, card.page, reference=reference)
        if reference is not None and not created and not has_reference(path):
            put_reference(path, reference)
        return Published(version, path, created, numbered(manifest, version), conversion, newest if created else None)

    def _repr_html_(self) -> str:
        return card.cell(self.manifest, draft=True)

    def __str__(self) -> str:
        """The table of candidates and the result, as the command line prints them."""
        return as_text(self.conversion)


def convert_pipeline(
    estimator: Any,
    data: Rows,
    *,
    target: "Array | pd.Series[Any] | str | None" = None,
    training: Rows | None = None,
    tolerance: str = "close",
    quantize: Quantize = "auto",
    batches: str = "1,64",
    metrics: Mapping[str, float] | None = None,
    data_sha256: str | None = None,
    pipeline_sha256: str | None = None,
    loaded: str | None = None,
    force: bool = False,
    times: "Array | pd.Series[Any] | str | None" = None,
    timezone: str | None = None,
    block: str = "1d",
    say: Say = lambda _: None,
) -> Report:
    """Convert a fitted estimator and verify it on held-out rows. Nothing is written before `Report.publish`.

    `data` are rows that the estimator was not trained on, in the form that it takes; a few thousand are enough.
    `target`, their true values or the name of the column with these, makes accuracy or R² part of the verification.
    `training` are the rows that it was trained on: the manifest records their hash, and their histograms for drift
    detection; without them, the histograms are those of the held-out rows. `tolerance` is "exact", "close" or
    "quantized"; "quantized:0.01" allows a drop of 0.01 in accuracy or R². `quantize` is "auto", "never" or "require".
    `batches` are the sizes that callers send, "1,64" or with shares "1:80,64:20": the fastest graph for them is chosen.
    `metrics` are figures of your own for the manifest, which also records the hashes and `loaded`, how the pipeline was
    loaded. `times` are the times of the training rows, or without these of the held-out rows, or the name of a column
    there: with them the version gets a reference, by which drift is judged in blocks of the length `block`. Times
    without a zone need `timezone`. `say` is called with a description of each step as it begins. Takes seconds; raises
    ConversionError.
    """
    _check(quantize, data_sha256)
    preset, max_metric_drop = preset_of(tolerance)
    sizes = batches_of(batches)
    block_s = block_seconds(block)
    rows, truth = _split_target(dense(data), target)
    training = None if training is None else dense(training)
    times_s = None if times is None else _times(rows if training is None else training, times, timezone)
    if isinstance(target, str):
        check_target(estimator, target)
    training_data = None if training is None else _training(estimator, training)
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
        batches=sizes,
    )
    say("profiling the inputs")
    profiled, layout, frame = _profile(conversion, training_data)
    reference = None
    if times_s is not None:
        say("measuring the blocks of the reference")
        reference = _reference(conversion, profiled, layout, frame, times_s, block_s, truth)
    return Report(
        conversion,
        lineage.lineage(
            estimator,
            pipeline_sha256=pipeline_sha256,
            data_sha256=data_sha256 or (None if training is None else lineage.fingerprint(training)),
            metrics=metrics or {},
            code=Path.cwd(),
            loaded=loaded or "it was in memory",
        ),
        profiled.profile,
        reference,
    )


def publish(
    estimator: Any,
    rows: Rows,
    *,
    name: str,
    repository: Path = Path("models"),
    say: Say = lambda _: None,
    **options: Any,
) -> Published:
    """`convert_pipeline`, with its options, and `Report.publish` in one call. Raises ConversionError."""
    versions(repository, name)  # an invalid name fails before the work, not after it
    report = convert_pipeline(estimator, rows, say=say, **options)
    say("publishing")
    return report.publish(name, repository)


def _training(estimator: Any, training: Rows) -> tuple[Layout, pd.DataFrame]:
    """The training rows as the pipeline reads them. Raises BadRows, before any work, if they do not fit it."""
    try:
        return infer(estimator, training)
    except BadRows as error:
        raise BadRows(f"training data: {error}") from error


def _times(rows: Rows, times: "Array | pd.Series[Any] | str", timezone: str | None) -> Array:
    """(n,) Unix time of each of the rows, in seconds. Raises BadRows."""
    if isinstance(times, str):
        if not isinstance(rows, pd.DataFrame) or times not in rows.columns:
            names = list(map(str, rows.columns)) if isinstance(rows, pd.DataFrame) else []
            raise BadRows(f"there is no column {times!r} to take the times from{near(times, names)}")
        return seconds_of(rows[times], timezone, f"column {times!r}")
    if len(times) != len(rows):
        raise BadRows(f"there are {len(times)} times for {len(rows)} rows")
    return seconds_of(times, timezone, "times")


def _reference(
    conversion: Conversion,
    profiled: Profiled,
    layout: Layout,
    frame: pd.DataFrame,
    times_s: Array,
    block_s: float,
    truth: Array | None,
) -> Reference:
    item, verdict = conversion.tried[conversion.chosen], conversion.verdicts[conversion.chosen]
    batch, us = max((int(size), time) for size, time in verdict.latency_us.items())
    held_out, numbers, run, row_s = conversion.frame, item.built.numbers, item.session.named, us / batch / 1e6
    importances = importances_of(conversion.layout, held_out, numbers, verdict.outputs, run, row_s)
    reliability: dict[str, Reliability] = {}
    if truth is not None and conversion.task == "classifier":
        kept = held_out.head(CHUNK_ROWS * 8)
        answers = item.session.named(conversion.layout.tensors(kept, numbers))
        probabilities = next((answers[spec.name] for spec in verdict.outputs if spec.role == "probabilities"), None)
        if probabilities is not None:
            reliability = reliability_of(probabilities, truth[: len(kept)], verdict.outputs)
    return reference_of(layout, frame, profiled, times_s, block_s, importances, reliability)


def _profile(
    conversion: Conversion, training: tuple[Layout, pd.DataFrame] | None
) -> tuple[Profiled, Layout, pd.DataFrame]:
    """The profile, and the layout and rows that it was made from."""
    item, layout, frame = conversion.tried[conversion.chosen], conversion.layout, conversion.frame
    if training is not None:
        training_layout, frame = training
        for here, there in zip(layout.columns, training_layout.columns, strict=True):
            if here.kind != there.kind:
                raise BadRows(
                    f"training data: column {here.name!r} holds {there.kind}s, but {here.kind}s in the held-out rows"
                )
    outputs = conversion.verdicts[conversion.chosen].outputs
    of: Literal["held-out", "training"] = "held-out" if training is None else "training"
    return profile(layout, frame, item.built.numbers, outputs, item.session.named, of), layout, frame


def _flat(candidate: Candidate) -> dict[str, Any]:
    """One row of the table."""
    fields = {name: getattr(candidate, name) for name in candidate.__struct_fields__ if name != "latency_us"}
    note = fields.pop("note")
    return {**fields, **{f"µs for {rows}": value for rows, value in candidate.latency_us.items()}, "note": note}


def _newest(repository: Path, name: str) -> Manifest | None:
    """The manifest of the newest version that is intact."""
    return next((manifest for _, path in versions(repository, name) if (manifest := read(path)) is not None), None)


def _check(quantize: str, data_sha256: str | None) -> None:
    """Fail before the work, not after it."""
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
            columns = list(map(str, rows.columns)) if isinstance(rows, pd.DataFrame) else []
            raise BadRows(f"there is no column {target!r} to take the target from{near(target, columns)}")
        return rows.drop(columns=target), rows[target].to_numpy()
    truth = np.asarray(target)
    if len(truth) != len(rows):
        raise BadRows(f"the target has {len(truth)} values for {len(rows)} rows")
    return rows, truth
