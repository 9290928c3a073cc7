"""What of the calls that have arrived is read at all."""

from collections.abc import Iterable, Sequence

from fakes import RecordingSink
from server.block import Ask
from server.errors import CallCancelled, MessageTooLarge
from server.tally import Tally
from server.transport.intake import Intake
from server.types import Call, Sink


class Reading:
    """A decoder and an engine: keeps what it is given."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[Ask]:
        """See Decoder."""
        assert len(calls) == len(payloads)
        assert sink
        self.read += payloads
        return []

    def submit(self, asks: Iterable[Ask]) -> None:
        """See Answerer."""
        assert not list(asks)


def test_what_is_too_large_or_given_up_is_not_read_and_counted_once() -> None:
    reading, sink, unserved = Reading(), RecordingSink(), Tally()
    intake = Intake(reading, reading, 3, "p", unserved)
    calls = [Call(name, sink) for name in "abcd"]
    calls[1].cancelled = True
    intake.take(calls, [b"one", b"two", b"three", b"4"], sink)
    assert reading.read == [b"one", b"4"]
    assert [(call.handle, type(error)) for call, error in sink.got] == [("b", CallCancelled), ("c", MessageTooLarge)]
    assert unserved.counted() == {("p", "CallCancelled"): 1, ("p", "MessageTooLarge"): 1}
