"""The client of a Skylane server: data frames, dicts or arrays in, arrays out.

    from skylane.client import Client

    with Client("localhost:8500") as client:
        late = client.predict("flights_late", frame).probabilities[:, 1]

`Client` blocks, `AsyncClient` is for asyncio; both have the same methods. Needs grpcio, protobuf and numpy only.
"""

from skylane.client.aio import AsyncClient
from skylane.client.decoding import Prediction
from skylane.client.encoding import Request
from skylane.client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidInput,
    NotFound,
    OutcomesRefused,
    OutOfRange,
    Overloaded,
    PermissionDenied,
    ResourceExhausted,
    SkylaneError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from skylane.client.outcomes import OutcomeReceipt, OutcomeRefusal
from skylane.client.schema import ColumnSpec, Model, ModelStatus, OutputSpec, TensorSpec, VersionStatus
from skylane.client.sync import Client

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "Cancelled",
    "Client",
    "ColumnSpec",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidInput",
    "Model",
    "ModelStatus",
    "NotFound",
    "OutOfRange",
    "OutcomeReceipt",
    "OutcomeRefusal",
    "OutcomesRefused",
    "OutputSpec",
    "Overloaded",
    "PermissionDenied",
    "Prediction",
    "Request",
    "ResourceExhausted",
    "SkylaneError",
    "TensorSpec",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "VersionStatus",
]
