"""What was found out about a pipeline → the manifest of its version. Pure but for running the chosen graph."""

import sys
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from skylane.convert.inspection.schema import Array
from skylane.convert.inspection.structure import Task, final_of
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.quantization_summary import on_quantization
from skylane.convert.publishing.report import sentence
from skylane.convert.verification.choose import Verdict, why_outside
from skylane.convert.verification.golden import golden, golden_frame
from skylane.dtypes import dtype_of
from skylane.manifest import Candidate, Lineage, Manifest, OutputSpec, identity_of
from skylane.profile import Profile


def describe(conversion: Conversion, name: str, origin: Lineage, profile: Profile) -> Manifest:
    """The manifest of the chosen candidate, as version 1."""
    item = conversion.tried[conversion.chosen]
    layout, numbers = conversion.layout, item.built.numbers
    forced = why_outside(conversion.verdicts[conversion.chosen].parity, conversion.tolerance) is not None
    return Manifest(
        model=name,
        version=1,
        identity=identity(conversion, conversion.chosen),
        task=conversion.task,
        tensors=layout.tensor_specs(numbers),
        columns=layout.column_specs(numbers),
        outputs=outputs_of(conversion, conversion.chosen),
        tolerance=msgspec.structs.replace(conversion.tolerance, forced=forced),
        candidates=tuple(_candidate(verdict, conversion, index) for index, verdict in enumerate(conversion.verdicts)),
        skipped=conversion.skipped,
        held_out_rows=len(conversion.frame),
        metric=conversion.metric if conversion.metric is None else _finite(conversion.metric),
        batches={str(size): share for size, share in conversion.batches.shares.items()},
        quantization=on_quantization(conversion),
        notes=conversion.notes,
        profile=profile,
        lineage=origin,
        golden=golden(layout, golden_frame(layout, conversion.frame), numbers, item.session.named),
    )


def identity(conversion: Conversion, index: int) -> str:
    """The identity that a version of this candidate would have."""
    built, layout = conversion.tried[index].built, conversion.layout
    return identity_of(
        sha256(built.content).hexdigest(),
        layout.tensor_specs(built.numbers),
        layout.column_specs(built.numbers),
        outputs_of(conversion, index),
    )


def outputs_of(conversion: Conversion, index: int) -> tuple[OutputSpec, ...]:
    """Types and shapes as the graph really gives them: what graphs declare is often less."""
    item, layout = conversion.tried[index], conversion.layout
    answered = item.session.named(layout.tensors(golden_frame(layout, conversion.frame), item.built.numbers))
    return tuple(_output(name, array, conversion.estimator, conversion.task) for name, array in answered.items())


def _output(name: str, array: Array, estimator: Any, task: Task) -> OutputSpec:
    roles = {"label": "label", "probabilities": "probabilities", "prediction": "prediction"}
    return msgspec.convert(
        {
            "name": name,
            "dtype": dtype_of(array),
            "shape": (None, *array.shape[1:]),
            "role": roles.get(name, "other"),
            "classes": _classes(estimator) if name == "probabilities" and task == "classifier" else (),
        },
        OutputSpec,
    )


def _classes(estimator: Any) -> tuple[str | int | bool, ...]:
    classes = getattr(estimator, "classes_", None)
    labels = np.asarray(final_of(estimator).classes_ if classes is None else classes)
    # Graphs have integers or texts for labels: skl2onnx turns whole floats into integers, and refuses others.
    return tuple((labels.astype(np.int64) if labels.dtype.kind == "f" else labels).tolist())


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
    """The same, or the largest there is: JSON has no infinity."""
    return number if np.isfinite(number) else sys.float_info.max
