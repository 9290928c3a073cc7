"""Matches the answers of a stream to its requests, and restores their order. Pure: no threads, no event loop."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

from skylane.client.decoding import Prediction, decode
from skylane.client.encoding import Request
from skylane.client.errors import (
    CODE_OF_NUMBER,
    Internal,
    InvalidInput,
    NotFound,
    SkylaneError,
    Unavailable,
    Unknown,
    error_of,
)
from skylane.v1.prediction_pb2 import PredictStreamResponse

T = TypeVar("T")

Answer = Prediction | SkylaneError


class Ledger:
    """The requests of one stream that wait for an answer.

    One thread may call `admit` while another calls `settle`: one only adds, the other only removes.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Request] = {}
        self._admitted = 0
        self.all_sent = False
        """Set when the last request has been passed to grpc."""

    def admit(self, item: Request | tuple[str, Any]) -> Request:
        """The request with an id: its own, or else its index on the stream, from 0.

        Raises ValueError if a request with that id is still in flight, or the id is longer than 256 bytes.
        """
        request = item if isinstance(item, Request) else Request(model=item[0], data=item[1])
        request_id = request.request_id or str(self._admitted)
        if request_id in self._waiting:
            raise ValueError(f"request_id {request_id!r} is that of a request still under way on this stream")
        if len(request_id.encode()) > 256:
            raise ValueError(f"request_id {request_id[:20]!r}… is over 256 bytes")
        self._admitted += 1
        self._waiting[request_id] = request = replace(request, request_id=request_id)
        return request

    def settle(self, reply: PredictStreamResponse) -> tuple[Request, Answer]:
        """The request that is answered, and its answer. Raises Internal for an answer without a request."""
        request = self._waiting.pop(reply.request_id, None)
        if request is None:
            raise Internal(f"the server answered request_id {reply.request_id!r}, which is not waiting for an answer")
        if reply.WhichOneof("result") == "response":
            return request, decode(reply.response)
        error = reply.error
        code = CODE_OF_NUMBER.get(error.code, Unknown.code)
        return request, error_of(code, error.message, error.retry_pushback_ms or None)

    def close(self) -> None:
        """The server has ended the stream. Raises Unavailable if requests are unanswered, as when it shuts down."""
        if self._waiting or not self.all_sent:
            first = f", the first {next(iter(self._waiting))!r}" if self._waiting else ""
            raise Unavailable(f"the server ended the stream with {len(self._waiting)} requests unanswered{first}")


def schema_may_be_old(answer: Answer) -> bool:
    """Whether an error may mean that the model's schema has changed."""
    return isinstance(answer, InvalidInput | NotFound)


class InOrder(Generic[T]):
    """Puts answers, which arrive as they are finished, into the order of requests. Holds only those that are early."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, T] = {}

    def add(self, place: int, answer: T) -> Iterator[T]:
        """All answers that can be delivered after this one has arrived."""
        self._early[place] = answer
        while self._next in self._early:
            self._next += 1
            yield self._early.pop(self._next - 1)
