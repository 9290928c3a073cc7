"""What can go wrong with a request, and who can act on it. Knows no protocol: codecs/grpc_status.py maps these."""


class CannotStart(Exception):
    """The server cannot be what the settings say; the message says why and what to do. For operators, not callers."""


class StoppedEarly(Exception):
    """The server was asked to stop before it began to serve, as while it waits for a disk. Nothing is to be drained."""


class ServingError(Exception):
    """A request was not answered, through no fault of ours unless the class says so. Its text goes to the caller."""


class BadRequest(ServingError):
    """The message itself cannot be read, or lacks what every request needs. The caller must fix it."""


class InputMismatch(ServingError):
    """The inputs are not what the model takes; names the input, what was expected and what came."""


class TooManyRows(ServingError):
    """The request alone is over the model's `max_request_rows`. The caller must split it."""


class ModelNotFound(ServingError):
    """No such model, version or label; names those that exist."""


class Unauthenticated(ServingError):
    """The credentials are missing, unknown or expired; the message does not tell which."""


class PermissionDenied(ServingError):
    """The credentials do not cover this; the message does not tell whether it exists."""


class NotHere(ServingError):
    """This server does not do that, as it is set up; says what to do instead."""


class MessageTooLarge(ServingError):
    """The message is over the listener's limit. It was not decoded."""


class Overloaded(ServingError):
    """The queue is full. Nothing ran, so the same request may be sent again after `retry_after_ms`."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeadlineExpired(ServingError):
    """The caller's deadline passed before the model ran, so it did not run."""


class CallCancelled(ServingError):
    """The caller went away before the model ran, so it did not run. Nobody reads this."""


class ShuttingDown(ServingError):
    """The server takes no new requests. Nothing ran; another server may answer."""


class StillLoading(ServingError):
    """The model is in the repository and not loaded yet. Nothing ran, so the same request may be sent again."""


class ModelFailed(ServingError):
    """Ours: the model failed on these rows although they matched its inputs."""
