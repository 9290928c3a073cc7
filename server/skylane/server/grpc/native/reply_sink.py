"""Hands the engine's replies, from any thread, to the connections of their calls."""

from collections.abc import Callable, Sequence
from functools import partial

from skylane.server.codecs.grpc_status import status_of
from skylane.server.core.errors import Overloaded, ServingError
from skylane.server.core.types import Call
from skylane.server.grpc.http2 import response_headers
from skylane.server.grpc.http2.connection import Connection


class ReplySink:
    """A Sink, see skylane.server.core.types, for calls whose handle is (connection, stream)."""

    def __init__(self, do: Callable[[Callable[[], object]], None], touched: set[Connection]) -> None:
        """`do` calls a function on the reactor's thread. `touched`: the connections that have something to write;
        belongs to that thread."""
        self._do, self._touched = do, touched
        self._overloaded = False

    def take_overloaded(self) -> bool:
        """Whether calls were refused since this was last called because a model has too many."""
        overloaded, self._overloaded = self._overloaded, False
        return overloaded

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        for call in calls:
            call.done = True
        self._do(partial(self._answer_named, calls, replies, ids) if ids else partial(self._answer, calls, replies))

    def _answer(self, calls: Sequence[Call], replies: Sequence[bytes]) -> None:
        touched = self._touched
        for call, reply in zip(calls, replies, strict=True):
            connection, stream_id = call.handle
            connection.streams.answer(stream_id, reply)
            touched.add(connection)

    def _answer_named(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes]) -> None:
        """Each reply with its prediction id in the trailers."""
        for call, reply, prediction_id in zip(calls, replies, ids, strict=True):
            connection, stream_id = call.handle
            connection.streams.answer(
                stream_id, reply, response_headers.OK + response_headers.prediction_id(prediction_id)
            )
            self._touched.add(connection)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        for call in calls:
            call.done = True
        self._overloaded |= isinstance(error, Overloaded)
        self._do(partial(self._refuse, calls, response_headers.refusal(status_of(error))))

    def _refuse(self, calls: Sequence[Call], block: bytes) -> None:
        for call in calls:
            connection, stream_id = call.handle
            request_id = response_headers.request_id(call.request_id) if call.request_id else b""
            connection.streams.refuse_call(stream_id, block + request_id)
            self._touched.add(connection)
