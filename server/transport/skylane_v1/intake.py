"""What every transport does with calls that have arrived: check their size, decode them, give them to the engine."""

import logging
from collections.abc import Callable, Sequence

from server.engine.engine import Engine
from server.errors import MessageTooLarge, ModelFailed
from server.transport.skylane_v1.requests import RequestDecoder
from server.types import Call, Sink

log = logging.getLogger(__name__)


class Intake:
    """Where Predict calls enter, from any transport and thread."""

    def __init__(self, engine: Engine, clock: Callable[[], float], message_bytes_max: int) -> None:
        self._engine, self._decoder = engine, RequestDecoder()
        self._message_bytes_max = message_bytes_max
        self.clock = clock
        """The engine's: deadlines are instants on it."""

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later. Never raises."""
        if max(map(len, payloads), default=0) > self._message_bytes_max:
            calls, payloads = self._without_large(calls, payloads, sink)
        try:
            asks = self._decoder.decode(calls, payloads, sink)
        except Exception:  # a fault of ours must not stop the thread that receives, nor leave a caller waiting
            log.exception("%d calls met a fault of the decoder", len(calls))
            sink.refuse([call for call in calls if not call.done], ModelFailed("internal error; the log has more"))
            return
        try:
            self._engine.submit(asks)
        except Exception:  # what was taken is with the engine: refusing it here could answer it twice
            log.exception("%d calls met a fault of the engine", len(calls))

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
