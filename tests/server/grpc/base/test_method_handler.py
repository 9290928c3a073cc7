"""What of the calls that have arrived is read at all."""

from collections.abc import Iterable, Sequence

from fakes import RecordingSink
from skylane.server.core.batch_task import RequestGroup
from skylane.server.core.errors import CallCancelled, MessageTooLarge
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_handler import MethodHandler


class Reading:
    """A decoder and an engine: keeps what it is given."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[RequestGroup]:
        """See Decoder."""
        assert len(calls) == len(payloads)
        assert sink
        self.read += payloads
        return []

    def submit(self, asks: Iterable[RequestGroup]) -> None:
        """See Answerer."""
        assert not list(asks)


def test_what_is_too_large_or_given_up_is_not_read_and_counted_once() -> None:
    reading, sink, rejections = Reading(), RecordingSink(), RejectionCounter()
    method_handler = MethodHandler(reading, reading, 3, "p", rejections)
    calls = [Call(name, sink) for name in "abcd"]
    calls[1].cancelled = True
    method_handler.take(calls, [b"one", b"two", b"three", b"4"], sink)
    assert reading.read == [b"one", b"4"]
    assert [(call.handle, type(error)) for call, error in sink.got] == [("b", CallCancelled), ("c", MessageTooLarge)]
    assert rejections.counted() == {("p", "CallCancelled"): 1, ("p", "MessageTooLarge"): 1}
