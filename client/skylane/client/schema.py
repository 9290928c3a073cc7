"""Descriptions of a server's models as frozen dataclasses, decoded from its replies."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from skylane.dtypes import FROM_PROTO, DType
from skylane.v1 import models_pb2 as pb

AnyDType = DType | Literal["unknown"]
State = Literal["unspecified", "loading", "ready", "failed", "retiring"]

_STATES: Final[dict[int, State]] = {0: "unspecified", 1: "loading", 2: "ready", 3: "failed", 4: "retiring"}


@dataclass(frozen=True)
class VersionStatus:
    """One version and its state."""

    version: int
    state: State
    reason: str = ""
    """For "failed": why it was refused. For "ready": why the current model.toml is not in effect; empty if it is."""


@dataclass(frozen=True)
class ModelStatus:
    """One model of the repository."""

    name: str
    versions: tuple[VersionStatus, ...] = ()
    """The newest first."""
    labels: dict[str, int] = field(default_factory=dict)
    """Label → version."""


@dataclass(frozen=True)
class TensorSpec:
    """One input of the graph."""

    name: str
    dtype: AnyDType
    shape: tuple[int, ...]
    """-1 for any size; the first is the rows."""


@dataclass(frozen=True)
class ColumnSpec:
    """One feature, and its position in the tensors."""

    name: str
    dtype: AnyDType
    tensor: str
    index: int
    may_be_missing: bool = False


@dataclass(frozen=True)
class OutputSpec:
    """One output of the graph."""

    name: str
    dtype: AnyDType
    shape: tuple[int, ...]
    role: str = ""
    """ "label", "probabilities", "prediction", or "" for anything else."""
    classes: tuple[str, ...] = ()
    """For probabilities: the label of each column, as text."""


@dataclass(frozen=True)
class Model:
    """One version of one model: its inputs and outputs."""

    name: str
    version: int
    task: str
    tensors: tuple[TensorSpec, ...]
    columns: tuple[ColumnSpec, ...] = ()
    """In the pipeline's order; empty if the model takes tensors only."""
    outputs: tuple[OutputSpec, ...] = ()
    manifest_json: bytes = field(default=b"", repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The label of each column of the probabilities, as text; empty if there are none."""
        return next((output.classes for output in self.outputs if output.classes), ())

    @property
    def manifest(self) -> dict[str, Any]:
        """The version's manifest: lineage, candidates, tolerance. Parsed on each call."""
        content = json.loads(self.manifest_json or b"{}")
        return content if isinstance(content, dict) else {}


def model_statuses(reply: pb.ListModelsResponse) -> tuple[ModelStatus, ...]:
    """The reply of ListModels as plain data."""
    return tuple(
        ModelStatus(
            name=model.name,
            versions=tuple(
                VersionStatus(version.version, _STATES.get(version.state, "unspecified"), version.reason)
                for version in model.versions
            ),
            labels=dict(model.labels),
        )
        for model in reply.models
    )


def model_of(reply: pb.GetModelResponse) -> Model:
    """The reply of GetModel as plain data."""
    model = reply.model
    return Model(
        name=model.name,
        version=model.version,
        task=model.task,
        tensors=tuple(TensorSpec(each.name, _dtype(each.dtype), tuple(each.shape)) for each in model.tensors),
        columns=tuple(
            ColumnSpec(each.name, _dtype(each.dtype), each.tensor, each.index, each.may_be_missing)
            for each in model.columns
        ),
        outputs=tuple(
            OutputSpec(each.name, _dtype(each.dtype), tuple(each.shape), each.role, tuple(each.classes))
            for each in model.outputs
        ),
        manifest_json=model.manifest_json,
    )


def _dtype(number: int) -> AnyDType:
    # A newer server may use a type that this client does not know; the model can still be described.
    return FROM_PROTO.get(number, "unknown")
