"""The Python API: convert_pipeline, the report that it returns, and publish."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import pandas as pd

import skylane.convert.publishing.card as card
from skylane.convert.errors import BadArgument, BadRows
from skylane.convert.export.explain import explained
from skylane.convert.inspection.schema import Array, Layout, dense, infer
from skylane.convert.loading.rows_file import near
from skylane.convert.publishing import lineage
from skylane.convert.publishing.conversion import Conversion, Say, convert, with_newest
from skylane.convert.publishing.describe import describe
from skylane.convert.publishing.profile import profile
from skylane.convert.publishing.report import as_text
from skylane.convert.publishing.store import numbered, put, read, versions
from skylane.convert.verification.batch_mix import batches_of
from skylane.convert.verification.choose import Quantize, preset_of
from skylane.convert.verification.interface import published_contract
from skylane.convert.verification.target import check_target
from skylane.manifest import Candidate, Lineage, Manifest
from skylane.profile import Profile

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
    """As published; if the version is an older one, as it would have been."""
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
        """The chosen graph's nodes as a table, each with the step of the pipeline that it came from."""
        return explained(self.graph, self.conversion.estimator)

    def save(self, path: Path | str) -> None:
        """Write the model card, one HTML file that needs nothing else."""
        Path(path).write_text(card.page(self.manifest), "utf-8")

    def publish(self, name: str, repository: Path | str = Path("models")) -> Published:
        """Publish it as the next version of a model. Raises BadArgument or Unwritable."""
        repository = Path(repository)
        newest = _newest(repository, name)
        conversion = self.conversion if newest is None else with_newest(self.conversion, published_contract(newest))
        manifest = describe(conversion, name, self.lineage, self.profile)
        graph = conversion.tried[conversion.chosen].built.content
        version, path, created = put(repository, graph, manifest, card.page)
        return Published(version, path, created, numbered(manifest, version), conversion, newest if created else None)

    def _repr_html_(self) -> str:
        return card.cell(self.manifest, draft=True)

    def __str__(self) -> str:
        """The table of candidates and the verdict, as the command line prints them."""
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
    say: Say = lambda _: None,
) -> Report:
    """Convert a fitted estimator and verify it on held-out rows. Nothing is written before `Report.publish`.

    `data` are rows that the estimator was not trained on, in the form that it takes; a few thousand are enough.
    `target`, the truth about them or the name of the column that has it, makes accuracy or R² part of the gate.
    `training` are the rows that it was trained on: they are fingerprinted, and histograms of them are kept for drift;
    without them, of the held-out rows. `tolerance` is "exact", "close" or "quantized"; "quantized:0.01" lets it cost so
    much of accuracy or R². `quantize` is "auto", "never" or "require". `batches` are the sizes that callers send,
    "1,64" or with shares "1:80,64:20": the fastest graph for them is chosen. `metrics` are the task's own figures, for
    the record, as are the sums and `loaded`, how the pipeline came into memory. `say` is called
    with a description of each step as it begins. Takes seconds; raises ConversionError.
    """
    _check(quantize, data_sha256)
    preset, max_metric_drop = preset_of(tolerance)
    sizes = batches_of(batches)
    rows, truth = _split_target(dense(data), target)
    training = None if training is None else dense(training)
    if isinstance(target, str):
        check_target(estimator, target)
    seen = None if training is None else _training(estimator, training)
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
        _profile(conversion, seen),
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
    """The training rows as the pipeline reads them. Raises BadRows, before any work, if it cannot."""
    try:
        return infer(estimator, training)
    except BadRows as error:
        raise BadRows(f"training data: {error}") from error


def _profile(conversion: Conversion, training: tuple[Layout, pd.DataFrame] | None) -> Profile:
    item, layout, frame = conversion.tried[conversion.chosen], conversion.layout, conversion.frame
    if training is not None:
        seen, frame = training
        for here, there in zip(layout.columns, seen.columns, strict=True):
            if here.kind != there.kind:
                raise BadRows(
                    f"training data: column {here.name!r} holds {there.kind}s, but {here.kind}s in the held-out rows"
                )
    outputs = conversion.verdicts[conversion.chosen].outputs
    return profile(
        layout,
        frame,
        item.built.numbers,
        outputs,
        item.session.named,
        "held-out" if training is None else "training",
    )


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
