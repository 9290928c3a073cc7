"""Data types shared by the whole server, independent of protocols, ONNX Runtime and files."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from skylane.manifest import ColumnSpec, Manifest, OutputSpec, TensorSpec
from skylane.server.core.errors import ServingError
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.value_limits import ValueLimits

Array = np.ndarray[Any, Any]

NO_DEADLINE = math.inf


class Call:
    """One request, from its arrival until its reply is handed to the transport."""

    __slots__ = (
        "cancelled",
        "deadline",
        "done",
        "followers",
        "grant",
        "handle",
        "key",
        "protocol",
        "request_id",
        "sink",
        "tail",
        "trace",
    )

    def __init__(
        self,
        handle: Any,
        sink: "Sink",
        deadline: float = NO_DEADLINE,
        tail: bytes = b"",
        grant: Grant = ANYONE,
        trace: Any = None,
        request_id: str = "",
    ) -> None:
        self.handle = handle
        """What the transport needs to send the reply."""
        self.sink = sink
        self.deadline = deadline
        """Instant on the engine's clock after which the caller no longer waits."""
        self.tail = tail
        """Bytes appended to this call's reply only: the id of its message."""
        self.grant = grant
        """What the caller's credentials allow."""
        self.cancelled = False
        """Set by the transport when the caller has cancelled or disconnected."""
        self.done = False
        """Set by the sink when it has received a reply or an error."""
        self.key: Hashable = None
        """The cache key, if the reply is to be cached."""
        self.followers: list[Call] | None = None
        """Equal calls that receive this one's answer."""
        self.protocol = ""
        """The protocol of the request, set by its decoder."""
        self.request_id = request_id
        """The caller's id from `x-request-id`, see core/request_ids.py; empty if none was sent."""
        self.trace = trace
        """The tracer's own data; None if tracing is off."""

    def is_live(self, now: float) -> bool:
        """Whether the caller still waits for the answer."""
        return not self.cancelled and now < self.deadline


class Sink(Protocol):
    """Receives the replies for one transport. Thread-safe. Never raises, even if the caller has disconnected."""

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        """Hand over one reply for each call. `ids`: one prediction id for each, if the protocol has no field for it."""

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """Hand the same error to every call."""


@dataclass(frozen=True)
class Route:
    """What a request names: a model and at most one of version and label."""

    model: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Interface:
    """The inputs and outputs of one loaded version. Compared by identity: every load creates a new one."""

    model: str
    version: int
    tensors: tuple[TensorSpec, ...]
    columns: tuple[ColumnSpec, ...]
    outputs: tuple[OutputSpec, ...]
    columns_by_name: dict[str, ColumnSpec] = field(init=False)
    tensors_by_name: dict[str, TensorSpec] = field(init=False)
    outputs_by_name: dict[str, int] = field(init=False)
    """Output name → its index."""
    limits: ValueLimits = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", ValueLimits(self.tensors, self.columns))
        object.__setattr__(self, "columns_by_name", {column.name: column for column in self.columns})
        object.__setattr__(self, "tensors_by_name", {tensor.name: tensor for tensor in self.tensors})
        object.__setattr__(self, "outputs_by_name", {output.name: i for i, output in enumerate(self.outputs)})

    @classmethod
    def of(cls, manifest: Manifest) -> "Interface":
        """The interface that a manifest declares."""
        return cls(manifest.model, manifest.version, manifest.tensors, manifest.columns, manifest.outputs)
