"""A conversion → the manifest of the version to publish. Pure, except that it runs the chosen graph."""

import sys

import msgspec
import numpy as np

from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.quantization_summary import on_quantization
from skylane.convert.publishing.report import sentence
from skylane.convert.verification.choose import Verdict, why_outside
from skylane.convert.verification.golden_rows import golden_frame, golden_rows
from skylane.manifest import Candidate, Lineage, Manifest
from skylane.profile import Profile


def describe(conversion: Conversion, name: str, origin: Lineage, profile: Profile) -> Manifest:
    """The manifest of the chosen candidate, as version 1."""
    item = conversion.tried[conversion.chosen]
    layout, numbers = conversion.layout, item.built.numbers
    verdict = conversion.verdicts[conversion.chosen]
    forced = why_outside(verdict.parity, conversion.tolerance) is not None
    return Manifest(
        model=name,
        version=1,
        identity=verdict.contract.identity,
        task=conversion.task,
        tensors=layout.tensor_specs(numbers),
        columns=layout.column_specs(numbers),
        outputs=verdict.outputs,
        tolerance=msgspec.structs.replace(conversion.tolerance, forced=forced),
        candidates=tuple(_candidate(one, conversion, index) for index, one in enumerate(conversion.verdicts)),
        skipped=conversion.skipped,
        held_out_rows=len(conversion.frame),
        metric=conversion.metric if conversion.metric is None else _finite(conversion.metric),
        batches={str(size): share for size, share in conversion.batches.shares.items()},
        quantization=on_quantization(conversion),
        notes=conversion.notes,
        profile=profile,
        lineage=origin,
        golden=golden_rows(layout, golden_frame(layout, conversion.frame), numbers, item.session.named),
    )


def _candidate(verdict: Verdict, conversion: Conversion, index: int) -> Candidate:
    parity = verdict.parity
    return Candidate(
        name=verdict.name,
        bytes=verdict.bytes,
        worst_difference=_finite(parity.worst_difference),
        p99_difference=_finite(parity.p99_difference),
        bad_rows=parity.bad_rows,
        label_flips=parity.label_flips,
        label_flips_below=parity.label_flips_below,
        metric_drop=None if parity.metric_drop is None else _finite(parity.metric_drop),
        latency_us=dict(verdict.latency_us),
        chosen=index == conversion.chosen,
        outside=why_outside(parity, conversion.tolerance),
        note=sentence(conversion, index),
    )


def _finite(number: float) -> float:
    """The same number, or the largest finite one instead of infinity, which JSON lacks."""
    return number if np.isfinite(number) else sys.float_info.max
