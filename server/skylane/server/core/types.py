"""Plain data shared by everything in the server. Knows no protocol, no ONNX Runtime, no files."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from skylane.manifest import ColumnSpec, Manifest, OutputSpec, TensorSpec
from skylane.server.core.errors import ServingError
from skylane.server.core.grant import ANYONE, Grant
from skylane.server.core.value_limits import ValueLimits

Array = np.ndarray[Any, Any]

NO_DEADLINE = math.inf


class Call:
    """One request, from its arrival until its reply is with the transport."""

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
        """What the transport needs to find the caller again."""
        self.sink = sink
        self.deadline = deadline
        """Instant on the engine's clock after which nobody waits."""
        self.tail = tail
        """Bytes that belong at the end of this caller's reply and no other's: the id that its message had."""
        self.grant = grant
        """What the caller's credentials allow."""
        self.cancelled = False
        """Set by the transport when the caller has disconnected."""
        self.done = False
        """Set by the sink when a reply or an error was handed over."""
        self.key: Hashable = None
        """Under which the reply is kept, while a cache waits for it."""
        self.followers: list[Call] | None = None
        """Equal calls that wait for this one's answer."""
        self.protocol = ""
        """By which protocol it came; whoever reads the request says so."""
        self.request_id = request_id
        """By which its caller knows it, from `x-request-id`; see core/request_ids.py. Nothing if none was sent."""
        self.trace = trace
        """What a tracer knows of it, and nobody else reads; None where nobody traces."""

    def is_live(self, now: float) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.cancelled and now < self.deadline


class Sink(Protocol):
    """Where replies go: one for each transport. Thread-safe; never raises, even if the caller has disconnected."""

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes]) -> None:
        """Hand over one reply for each call."""

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
    """What one loaded version takes and gives. Compared by identity: every load makes a new one."""

    model: str
    version: int
    tensors: tuple[TensorSpec, ...]
    columns: tuple[ColumnSpec, ...]
    outputs: tuple[OutputSpec, ...]
    columns_by_name: dict[str, ColumnSpec] = field(init=False)
    tensors_by_name: dict[str, TensorSpec] = field(init=False)
    outputs_by_name: dict[str, int] = field(init=False)
    """Output name → its place."""
    limits: ValueLimits = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", ValueLimits(self.tensors, self.columns))
        object.__setattr__(self, "columns_by_name", {column.name: column for column in self.columns})
        object.__setattr__(self, "tensors_by_name", {tensor.name: tensor for tensor in self.tensors})
        object.__setattr__(self, "outputs_by_name", {output.name: i for i, output in enumerate(self.outputs)})

    @classmethod
    def of(cls, manifest: Manifest) -> "Interface":
        """The interface that a manifest promises."""
        return cls(manifest.model, manifest.version, manifest.tensors, manifest.columns, manifest.outputs)
