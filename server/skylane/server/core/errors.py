"""The errors of a request, independent of the protocol. codecs/grpc_status.py and http/error_responses.py map them to
status codes."""

from typing import Final


class CannotStart(Exception):
    """The server cannot start with these settings. The message tells the operator why, and what to do."""


class StoppedEarly(Exception):
    """The server received a signal to stop before it began to serve, so there are no requests to wait for."""


class ServingError(Exception):
    """A request was refused or failed. The text is sent to the caller."""


class BadRequest(ServingError):
    """The message cannot be decoded, or lacks a required field. The caller must fix it."""


class InputMismatch(ServingError):
    """The inputs do not match the model's. The text names the input, what was expected and what was received."""


class TooManyRows(ServingError):
    """The request has more rows than the model's `max_request_rows`. The caller must split it."""


class ModelNotFound(ServingError):
    """No such model, version or label. The text names those that exist."""


class Unauthenticated(ServingError):
    """The credentials are missing, invalid or expired. The text does not reveal which."""


class PermissionDenied(ServingError):
    """The credentials do not allow this. The text does not reveal whether the model exists."""


class NotHere(ServingError):
    """The server's configuration does not support this. The text says what to do instead."""


class NotConfigured(ServingError):
    """The server was started without what this needs. The text names the option."""


class NotRecorded(ServingError):
    """What was sent could not be written to the disk. Nothing was acknowledged, so the same may be sent again."""


class MessageTooLarge(ServingError):
    """The message exceeds the listener's size limit. It was not decoded."""


class Overloaded(ServingError):
    """The queue is full. Nothing ran, so the same request may be sent again after `retry_after_ms`."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeadlineExpired(ServingError):
    """The caller's deadline passed before the model ran, so it did not run."""


class CallCancelled(ServingError):
    """The caller cancelled or disconnected before the model ran, so it did not run."""


class ShuttingDown(ServingError):
    """The server takes no new requests. Nothing ran; another server may answer."""


class StillLoading(ServingError):
    """The model is in the repository but not loaded yet. Nothing ran, so the same request may be sent again."""


INTERNAL_ERROR: Final = "internal error; details are in the server's log"
"""What a caller reads of a bug of the server. The log has the traceback."""


class ModelFailed(ServingError):
    """The model failed on these rows although they match its inputs, or the server had an internal error."""
