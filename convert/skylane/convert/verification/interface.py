"""The interface of a graph: its inputs and outputs with their types, and the identity of a version that has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import Array, Layout, NumberType
from skylane.convert.inspection.structure import Task, final_of
from skylane.convert.verification.golden_rows import golden_frame
from skylane.dtypes import dtype_of
from skylane.manifest import Manifest, OutputSpec, TensorSpec, identity_of

ROLES: Final = {"label": "label", "probabilities": "probabilities", "prediction": "prediction"}


@dataclass(frozen=True, order=True)
class Interface:
    """The types of a graph's inputs and outputs. Smaller is preferred: fewer doubles in, then fewer doubles out.

    Callers and caches depend on it, so it follows from the pipeline and its rows alone, never from how fast a graph is.
    """

    doubles_in: int
    doubles_out: int
    inputs: tuple[tuple[str, str], ...]
    """Name and type of each tensor."""
    outputs: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    """Name, type and shape of each output."""


def interface_of(tensors: Sequence[TensorSpec], outputs: Sequence[OutputSpec]) -> Interface:
    """The interface of a graph with these inputs and outputs."""
    return Interface(
        doubles_in=sum(tensor.dtype == "float64" for tensor in tensors),
        doubles_out=sum(output.dtype == "float64" for output in outputs),
        inputs=tuple((tensor.name, tensor.dtype) for tensor in tensors),
        outputs=tuple((output.name, output.dtype, tuple(output.shape)) for output in outputs),
    )


@dataclass(frozen=True)
class Contract:
    """One graph's interface, identity and candidate."""

    interface: Interface
    identity: str
    """The identity that a version of this graph would have."""
    candidate: str
    """Name of the candidate."""


def contract_of(
    content: bytes, candidate: str, layout: Layout, numbers: NumberType, outputs: Sequence[OutputSpec]
) -> Contract:
    """A graph that was built."""
    tensors = layout.tensor_specs(numbers)
    return Contract(
        interface_of(tensors, outputs),
        identity_of(sha256(content).hexdigest(), tensors, layout.column_specs(numbers), tuple(outputs)),
        candidate,
    )


def published_contract(manifest: Manifest) -> Contract:
    """The graph of a version that is in the repository."""
    chosen = next((candidate.name for candidate in manifest.candidates if candidate.chosen), "")
    return Contract(interface_of(manifest.tensors, manifest.outputs), manifest.identity, chosen)


def outputs_of(
    session: Session, layout: Layout, frame: pd.DataFrame, numbers: NumberType, estimator: Any, task: Task
) -> tuple[OutputSpec, ...]:
    """Types and shapes of actual outputs, because what graphs declare is often incomplete."""
    answered = session.named(layout.tensors(golden_frame(layout, frame), numbers))
    return tuple(_output(name, array, estimator, task) for name, array in answered.items())


def _output(name: str, array: Array, estimator: Any, task: Task) -> OutputSpec:
    return msgspec.convert(
        {
            "name": name,
            "dtype": dtype_of(array),
            "shape": (None, *array.shape[1:]),
            "role": ROLES.get(name, "other"),
            "classes": _classes(estimator) if name == "probabilities" and task == "classifier" else (),
        },
        OutputSpec,
    )


def _classes(estimator: Any) -> tuple[str | int | bool, ...]:
    classes = getattr(estimator, "classes_", None)
    labels = np.asarray(final_of(estimator).classes_ if classes is None else classes)
    # Graphs have integers or texts for labels: skl2onnx turns whole floats into integers, and refuses others.
    return tuple((labels.astype(np.int64) if labels.dtype.kind == "f" else labels).tolist())
