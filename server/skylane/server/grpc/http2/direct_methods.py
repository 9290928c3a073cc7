"""Methods about the server itself, such as health checks, answered by the receiving thread.

Probes and operators call them most when something is wrong, so they do not depend on the event loop or on the calls
that are open there. With the grpcio transport, its services answer the same.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from skylane.server.codecs.grpc_status import STATUS_OF
from skylane.server.core.errors import INTERNAL_ERROR, CallCancelled, MessageTooLarge, ModelFailed, ServingError
from skylane.server.core.token_scope import Grant
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import CallEnded
from skylane.server.grpc.http2.messages import message_too_large

log = logging.getLogger(__name__)

Answer: TypeAlias = Callable[[bytes, Grant], bytes]
"""(message, grant of its caller) → the reply. Raises ServingError. Called by the reactor's thread; must not block."""
DirectMethods: TypeAlias = Mapping[str, Answer]
"""Path → function that answers."""


class DirectHandler:
    """Answers the calls of one such method. A BatchedMethod."""

    def __init__(self, path: str, answer: Answer, ended: CallEnded | None) -> None:
        """`ended` is called when a call ends."""
        self._path, self._answer, self._ended = path, answer, ended

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        for call, payload in zip(calls, payloads, strict=True):
            result = CallCancelled("the caller has gone") if call.cancelled else self._result(payload, call.grant)
            if isinstance(result, bytes):
                sink.answer([call], [result])
            else:
                sink.refuse([call], result)
            if self._ended is not None:
                status = "OK" if isinstance(result, bytes) else STATUS_OF[type(result)].name
                self._ended(self._path, status, call.request_id)

    def _result(self, payload: bytes, grant: Grant) -> bytes | ServingError:
        try:
            return self._answer(payload, grant)
        except ServingError as error:
            return error
        except Exception:  # a bug must not stop the receiving thread
            log.exception("%s failed with an internal error", self._path)
            return ModelFailed(INTERNAL_ERROR)

    def too_large(self, size: int) -> MessageTooLarge:
        return message_too_large(size)
