"""The receiving half of a stream whose message comes in parts or compressed, or that is a stream of messages."""

from collections.abc import Iterable
from typing import Final, Protocol

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.grpc.http2.limits import Places, Share
from skylane.server.grpc.http2.messages import Assembler, MessageFault
from skylane.server.grpc.http2.request_fields import StreamFault
from skylane.server.grpc.http2.request_headers import RequestHeaders


class StreamHandler(Protocol):
    """Receives the messages of one stream of messages. Called by the reactor's thread; must not block."""

    @property
    def busy(self) -> bool:
        """Whether a server that shuts down should wait for it. From any thread."""

    def message(self, message: bytes) -> None:
        """Process a message from the client."""

    def half_close(self) -> None:
        """The client sends no more messages."""

    def cancel(self) -> None:
        """The client has gone, or the stream was reset."""


class Discarded:
    """Content of a request that is not gRPC, which is not kept. Used instead of an Assembler."""

    held = missing = excess = 0

    def feed(self, _: bytes) -> Iterable[bytes]:
        return ()


class ReceivingStream:
    """One such stream. Its bytes count against the budget until they are handed over."""

    __slots__ = (
        "_assembler",
        "_budgeted",
        "_expected",
        "_moved",
        "_share",
        "_unconsumed",
        "_window",
        "answered",
        "began_at",
        "ended",
        "handler",
        "headers",
        "place",
        "whole",
    )

    WINDOW: Final = 2**20
    """Bytes that a client may send before the length of its message is known."""
    SMALL: Final = 16
    """A shorter message is too short for a prediction: many of them in one frame count as a flood."""
    KEPT: Final = 256
    """Bytes of overhead for a message that waits for its handler: empty ones must count as well."""

    def __init__(
        self, headers: RequestHeaders, assembler: Assembler | Discarded, share: Share, began_at: float
    ) -> None:
        self.headers, self.began_at = headers, began_at
        self.handler: StreamHandler | None = None
        """None for a unary call."""
        self.whole: bytes | None = None
        """The message of a unary call, once it is whole."""
        self.ended = False
        """Whether the client has said that it sends no more."""
        self.answered = False
        """Whether its response has begun."""
        self.place: Places | None = None
        """Where its place is given back, if streams of its kind are bounded."""
        self._expected = headers.content_length
        """Bytes of content that must still come, if the client promised a number."""
        self._assembler, self._share = assembler, share
        self._budgeted = 0
        self._window = self.WINDOW
        """Bytes that the client may still send."""
        self._unconsumed = 0
        """Bytes of messages that the handler has not processed."""
        self._moved = False
        """Whether a message was completed since the last call of `stalled`."""

    @property
    def busy(self) -> bool:
        """Whether a server that shuts down should wait for it."""
        return self.handler is None or self.handler.busy

    @property
    def between_messages(self) -> bool:
        """Whether no part of an incomplete message has arrived."""
        return not self._assembler.held

    @property
    def window(self) -> int:
        """Bytes that the client may still send, even if they are no longer needed."""
        return 0 if self.ended else max(self._window, 0)

    @property
    def is_complete(self) -> bool:
        """Whether as many bytes have arrived as content-length says."""
        return not self._expected

    def feed(self, data: bytes) -> int:
        """Process more bytes, without padding. Returns how many small messages they completed. Raises StreamFault for
        more bytes than content-length says, MessageFault for a message that cannot be accepted."""
        if self._expected is not None:
            self._expected -= len(data)
            if self._expected < 0:
                raise StreamFault("more bytes than content-length says")
        small = 0
        for message in self._assembler.feed(data):
            small += len(message) < self.SMALL
            if self.handler is not None:
                self._unconsumed += len(message) + self.KEPT
                self._moved = True
                self.handler.message(message)
            elif self.whole is None:
                self.whole = message
            else:
                raise MessageFault(Status(StatusCode.INTERNAL, "expected one message, received more"))
        self._settle()
        return small

    def excess(self) -> int:
        """Bytes unpacked from far fewer, since the last call."""
        excess, self._assembler.excess = self._assembler.excess, 0
        return excess

    def spend(self, size: int) -> bool:
        """Deduct bytes that have arrived from the window. Returns whether it had room for them."""
        self._window -= size
        return self._window >= 0

    def refill(self) -> int:
        """Bytes by which to enlarge the window now; 0 if not at all."""
        # The window must have room for the rest of a message, and for the end of a unary call after it: at a window of
        # 0, grpc-go does not even send an empty frame with END_STREAM. A stream continues when messages are processed.
        behind = 1 if self.handler is None else 0
        increment = max(self._assembler.missing + behind - self._window, 0)
        if self.handler is not None and self._unconsumed < self.WINDOW and self._window <= self.WINDOW // 2:
            increment = max(increment, self.WINDOW - self._window)
        self._window += increment
        return 0 if self.ended else increment

    def consumed(self, size: int) -> None:
        """The handler has processed a message of so many bytes."""
        self._unconsumed -= size + self.KEPT
        self._settle()

    def cancel(self) -> None:
        """Cancel the handler, if there is one."""
        if self.handler is not None:
            self.handler.cancel()

    def stalled(self, now: float, stalled_s: float) -> bool:
        """Whether a message began so long ago and is not whole. For streams of messages, this must be polled often."""
        if self.handler is not None and (self._moved or self.between_messages):
            self.began_at, self._moved = now, False
        return now - self.began_at > stalled_s

    def forget(self) -> None:
        """Give back its bytes of the budget, and its place."""
        self._share.give_back(self._budgeted)
        self._budgeted = 0
        if self.place is not None:
            self.place.give_back()
            self.place = None

    def _settle(self) -> None:
        held = self._assembler.held + len(self.whole or b"") + self._unconsumed
        if held > self._budgeted and not self._share.take(held - self._budgeted):
            text = "the server holds as many bytes of this connection's unfinished requests as it may; try again later"
            raise MessageFault(Status(StatusCode.RESOURCE_EXHAUSTED, text))
        if held < self._budgeted:
            self._share.give_back(self._budgeted - held)
        self._budgeted = held
