"""The client's errors: one exception for each gRPC status, and a table of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import grpc

if TYPE_CHECKING:
    from skylane.client.outcomes import OutcomeReceipt


class SkylaneError(RuntimeError):
    """The call failed, at the server or on the way to it.

    Its `__cause__` is the gRPC error, if there was one. Mistakes that are detected before anything is sent are
    `TypeError` and `ValueError` instead.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    """The gRPC status; fixed for each class."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail, retry_after_s)
        self.detail = detail
        """The server's message."""
        self.retry_after_s = retry_after_s
        """Seconds after which the server asks for a retry; None if it does not."""

    def __str__(self) -> str:
        return f"{self.code.name}: {self.detail}"


class Cancelled(SkylaneError):
    """The call was cancelled, by this side or by something on the way."""

    code = grpc.StatusCode.CANCELLED


class Unknown(SkylaneError):
    """The server, or a proxy, failed without a reason."""

    code = grpc.StatusCode.UNKNOWN


class InvalidInput(SkylaneError):
    """The request is wrong; the detail names the field, what was expected and what came."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class OutcomesRefused(InvalidInput):
    """The server has refused some outcomes; the others are recorded. The receipt has the reasons."""

    def __init__(self, receipt: "OutcomeReceipt") -> None:
        first = receipt.refusals[0]
        total = receipt.accepted + receipt.refused
        super().__init__(f"{receipt.refused} of {total} outcomes are refused; number {first.index}: {first.reason}")
        self.receipt = receipt
        """The result for all outcomes of the call."""


class DeadlineExceeded(SkylaneError):
    """No answer within `timeout_s`. If the server shed the request, the model did not run."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(SkylaneError):
    """No such model, version or label; the detail names those that exist."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(SkylaneError):
    """A status that Skylane itself does not use."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(SkylaneError):
    """The caller is authenticated, but not allowed to do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(SkylaneError):
    """A limit was exceeded for which a retry does not help: usually the size of a message."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Overloaded(ResourceExhausted):
    """The model's queue is full. Nothing ran, so the same request may be sent again after `retry_after_s`."""


class FailedPrecondition(SkylaneError):
    """The server was started without what this needs; the detail names the option."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(SkylaneError):
    """A status that Skylane itself does not use."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(SkylaneError):
    """A status that Skylane itself does not use."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(SkylaneError):
    """The server does not have this method: it is another service, or an older server."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(SkylaneError):
    """The model failed on these rows, or the reply could not be read."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(SkylaneError):
    """The server cannot be reached, the connection broke, or the server is shutting down."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(SkylaneError):
    """A status that Skylane itself does not use."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(SkylaneError):
    """The caller is not authenticated: credentials are missing or wrong."""

    code = grpc.StatusCode.UNAUTHENTICATED


ERROR_OF: Final[dict[grpc.StatusCode, type[SkylaneError]]] = {
    cls.code: cls
    for cls in (
        Cancelled, Unknown, InvalidInput, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
        ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented, Internal, Unavailable, DataLoss,
        Unauthenticated,
    )
}  # fmt: skip
"""Status → exception. Only `Overloaded` depends on more than the status; see `error_of`."""

CODE_OF_NUMBER: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

# Both contain the same pause in milliseconds. Proxies that retry by themselves may remove gRPC's own key.
_PUSHBACK_KEYS: Final = ("retry-pushback-ms", "grpc-retry-pushback-ms")

_SEND_FAILED: Final = "Internal error from Core"
"""grpc.aio's message if it cannot send because the call has ended with a status that is not known yet."""


def error_of(code: grpc.StatusCode, detail: str, pushback_ms: int | None = None) -> SkylaneError:
    """The exception for a status. RESOURCE_EXHAUSTED with a pause to wait is `Overloaded`."""
    if pushback_ms is None or pushback_ms < 0:  # gRPC: a negative pause means "do not try again"
        return ERROR_OF.get(code, Unknown)(detail)
    cls = Overloaded if code is grpc.StatusCode.RESOURCE_EXHAUSTED else ERROR_OF.get(code, Unknown)
    return cls(detail, pushback_ms / 1000)


def error_of_rpc(error: grpc.RpcError) -> SkylaneError:
    """The exception for an error of grpc or grpc.aio, which becomes its cause."""
    code, detail = error.code(), error.details() or "no reason was given"
    if code is grpc.StatusCode.INTERNAL and detail == _SEND_FAILED:
        # Occurs when a server that shuts down ends a stream: not a failure of the server, and safe to retry elsewhere.
        code, detail = grpc.StatusCode.UNAVAILABLE, "the call had already ended when a request was to be sent"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and detail.lower() == "deadline exceeded":
        detail = "no answer within the timeout"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "CLIENT: " in detail:
        detail += "; the client's own limit is its option max_message_bytes"
    typed = error_of(code, detail, _pushback_ms(error.trailing_metadata() or ()))
    typed.__cause__ = error
    return typed


def _pushback_ms(metadata: Iterable[Any]) -> int | None:
    pushback = {key: value for key, value in metadata if key in _PUSHBACK_KEYS}
    for key in _PUSHBACK_KEYS:
        try:
            return int(pushback[key])
        except (KeyError, ValueError):
            continue
    return None
