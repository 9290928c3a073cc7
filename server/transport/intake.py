"""What every transport does with calls that have arrived: check their size, decode them, give them to the engine.

One for each method whose calls may come many at once; methods differ in their decoder.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from server.block import Answerer, Ask
from server.credentials import ANYONE, Grant
from server.errors import MessageTooLarge, ModelFailed, PermissionDenied
from server.types import Call, Sink

log = logging.getLogger(__name__)


class Decoder(Protocol):
    """Reads the requests of one method."""

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[Ask]:
        """Group calls that arrived together. A request that cannot be read is refused at once, and is in no group."""


class Intake:
    """Where the calls of one method enter, from any transport and thread."""

    def __init__(self, engine: Answerer, decoder: Decoder, message_bytes_max: int, protocol: str = "") -> None:
        """`protocol`: the name under which its calls are counted."""
        self._protocol = protocol
        self._engine, self._decoder = engine, decoder
        self._message_bytes_max = message_bytes_max

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later. Never raises."""
        for call in calls:
            call.protocol = self._protocol
        if max(map(len, payloads), default=0) > self._message_bytes_max:
            calls, payloads = self._without_large(calls, payloads, sink)
        try:
            asks = self._decode(calls, payloads, sink)
        except Exception:  # a fault of ours must not stop the thread that receives, nor leave a caller waiting
            log.exception("%d calls met a fault of the decoder", len(calls))
            sink.refuse([call for call in calls if not call.done], ModelFailed("internal error; the log has more"))
            return
        try:
            self._engine.submit(asks)
        except Exception:  # what was taken is with the engine: refusing it here could answer it twice
            log.exception("%d calls met a fault of the engine", len(calls))

    def _decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[Ask]:
        if all(call.grant is ANYONE for call in calls):
            return self._decoder.decode(calls, payloads, sink)
        asks: list[Ask] = []
        for grant in {call.grant: None for call in calls}:  # few: callers with one token share its grant
            own = [place for place, call in enumerate(calls) if call.grant is grant]
            found = self._decoder.decode([calls[place] for place in own], [payloads[place] for place in own], sink)
            asks += _permitted(found, grant)
        return asks

    def _without_large(
        self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink
    ) -> tuple[list[Call], list[bytes]]:
        fitting: tuple[list[Call], list[bytes]] = ([], [])
        for call, payload in zip(calls, payloads, strict=True):
            if len(payload) <= self._message_bytes_max:
                fitting[0].append(call)
                fitting[1].append(payload)
            else:
                sink.refuse([call], self.too_large(len(payload)))
        return fitting

    def too_large(self, size: int) -> MessageTooLarge:
        """What a caller hears whose message has so many bytes."""
        return MessageTooLarge(
            f"the message has {size} bytes, but this server takes at most {self._message_bytes_max} "
            f"(--max-message-mb): send fewer rows at once"
        )


def _permitted(asks: Iterable[Ask], grant: Grant) -> Iterable[Ask]:
    """Those whose model the grant covers; the others are refused."""
    for ask in asks:
        try:
            grant.check("predict", ask.route.model)
        except PermissionDenied as error:
            ask.sink.refuse(ask.calls, error)
        else:
            yield ask
