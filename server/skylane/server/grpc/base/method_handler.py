"""What every transport does with the calls of a batched method: check their size, decode them, check the scope of their
tokens, submit them to the engine. Methods differ in their decoder.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from skylane.server.core.batch_task import Answerer, RequestGroup
from skylane.server.core.errors import (
    INTERNAL_ERROR,
    CallCancelled,
    MessageTooLarge,
    ModelFailed,
    PermissionDenied,
    ServingError,
)
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.types import Call, Sink

log = logging.getLogger(__name__)

LOGGED_IDS_MAX: Final = 8
"""Request ids in one log line about an internal error that calls have in common."""


class Decoder(Protocol):
    """Reads the requests of one method."""

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[RequestGroup]:
        """Group calls that arrived together. A request that cannot be decoded is refused here, and is in no group."""


class MethodHandler:
    """Takes the calls of one method, from any transport and thread."""

    def __init__(
        self,
        engine: Answerer,
        decoder: Decoder,
        message_bytes_max: int,
        protocol: str,
        rejections: RejectionCounter,
    ) -> None:
        """`protocol`: the name under which its calls are counted. `rejections`: counts those that reach no engine."""
        self._protocol, self._rejections = protocol, rejections
        self._engine, self._decoder = engine, decoder
        self._message_bytes_max = message_bytes_max

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later. Never raises."""
        for call in calls:
            call.protocol = self._protocol
        if max(map(len, payloads), default=0) > self._message_bytes_max or True in [call.cancelled for call in calls]:
            calls, payloads = self._acceptable(calls, payloads, sink)
        try:
            groups = self._decode(calls, payloads, sink)
        except Exception:  # a bug must not stop the receiving thread, nor leave a caller without an answer
            left = [call for call in calls if not call.done]
            ids = " ".join(call.request_id for call in left[:LOGGED_IDS_MAX])
            log.exception("decoding %d calls failed with an internal error", len(calls), extra={"request_id": ids})
            self._refuse(left, ModelFailed(INTERNAL_ERROR), sink)
            return
        try:
            self._engine.submit(groups)
        except Exception:  # the engine may have some of them: refusing them here could answer twice
            log.exception("submitting %d calls failed with an internal error", len(calls))

    def _decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[RequestGroup]:
        if all(call.grant is ANYONE for call in calls):
            return self._decoder.decode(calls, payloads, sink)
        groups: list[RequestGroup] = []
        for grant in {call.grant: None for call in calls}:  # few: calls with the same token share its grant
            places = [place for place, call in enumerate(calls) if call.grant is grant]
            decoded = self._decoder.decode(
                [calls[place] for place in places], [payloads[place] for place in places], sink
            )
            groups += self._permitted(decoded, grant)
        return groups

    def _acceptable(
        self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink
    ) -> tuple[list[Call], list[bytes]]:
        """Those that are not too large and not cancelled: a client that cancels requests as fast as it sends them must
        not fill the queues."""
        kept: tuple[list[Call], list[bytes]] = ([], [])
        for call, payload in zip(calls, payloads, strict=True):
            if call.cancelled:
                self._refuse([call], CallCancelled("the caller has gone"), sink)
            elif len(payload) > self._message_bytes_max:
                self._refuse([call], self.too_large(len(payload)), sink)
            else:
                kept[0].append(call)
                kept[1].append(payload)
        return kept

    def _permitted(self, groups: Iterable[RequestGroup], grant: Grant) -> Iterable[RequestGroup]:
        """The groups whose model is in the grant's scope; the others are refused."""
        for group in groups:
            try:
                grant.check("predict", group.route.model)
            except PermissionDenied as error:
                self._refuse(group.calls, error, group.sink)
            else:
                yield group

    def _refuse(self, calls: Sequence[Call], error: ServingError, sink: Sink) -> None:
        self._rejections.add(self._protocol, type(error).__name__, len(calls))
        sink.refuse(calls, error)

    def too_large(self, size: int) -> MessageTooLarge:
        """The error for a message of so many bytes."""
        return MessageTooLarge(
            f"the message has {size} bytes, but this server takes at most {self._message_bytes_max} "
            f"(--max-message-mb): send fewer rows at once"
        )
