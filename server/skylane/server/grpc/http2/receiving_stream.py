"""A request that did not come in one go: in pieces, compressed, or as a stream of messages for a tunnel."""

from collections.abc import Iterable
from typing import Final, Protocol

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.grpc.http2.limits import Places, Share
from skylane.server.grpc.http2.messages import Assembler, MessageFault
from skylane.server.grpc.http2.request_fields import StreamFault
from skylane.server.grpc.http2.request_headers import RequestHeaders


class Tunnel(Protocol):
    """Where the messages of a method go that is not hot. Called by the thread that receives; must not block."""

    @property
    def busy(self) -> bool:
        """Whether a server that goes should wait for it. From any thread."""

    def message(self, message: bytes) -> None:
        """The client sent this."""

    def half_close(self) -> None:
        """The client sends no more."""

    def cancel(self) -> None:
        """The client has gone."""


class Discarded:
    """Content that is not gRPC's, of which nothing is kept. Takes the place of an Assembler."""

    held = missing = excess = 0

    def feed(self, _: bytes) -> Iterable[bytes]:
        return ()


class ReceivingStream:
    """What is known of it so far. Its bytes count against the budget until somebody takes them."""

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
        "head",
        "place",
        "tunnel",
        "whole",
    )

    WINDOW: Final = 2**20
    """Bytes that a client may send before we have seen how long its message is."""
    SMALL: Final = 16
    """A shorter message says nothing that a prediction needs: many of them in one frame are a flood."""
    KEPT: Final = 256
    """Bytes that it takes to keep a message in a tunnel, beside its own: empty ones must count as well."""

    def __init__(self, head: RequestHeaders, assembler: Assembler | Discarded, share: Share, began_at: float) -> None:
        self.head, self.began_at = head, began_at
        self.tunnel: Tunnel | None = None
        """None for a unary call."""
        self.whole: bytes | None = None
        """The message of a unary call, once it is here."""
        self.ended = False
        """Whether the client has said that it sends no more."""
        self.answered = False
        """Whether its answer has begun."""
        self.place: Places | None = None
        """Where its place is given back, if its kind has a bound of its own."""
        self._expected = head.content_length
        """Bytes of content that must still come, if the client promised a number."""
        self._assembler, self._share = assembler, share
        self._budgeted = 0
        self._window = self.WINDOW
        """Bytes that the client may still send."""
        self._unconsumed = 0
        """Bytes of messages in the tunnel."""
        self._moved = False
        """Whether a message came whole since anybody asked."""

    @property
    def busy(self) -> bool:
        """Whether a server that goes should wait for it."""
        return self.tunnel is None or self.tunnel.busy

    @property
    def between_messages(self) -> bool:
        """Whether nothing has come of a message that is not whole."""
        return not self._assembler.held

    @property
    def window(self) -> int:
        """Bytes that may still come, even if nobody wants them any more."""
        return 0 if self.ended else max(self._window, 0)

    @property
    def is_complete(self) -> bool:
        """Whether as many bytes have come as the client promised."""
        return not self._expected

    def feed(self, data: bytes) -> int:
        """More bytes, without padding. Returns how many small messages they completed. Raises StreamFault if they are
        more than the client promised, MessageFault for a message that cannot be taken."""
        if self._expected is not None:
            self._expected -= len(data)
            if self._expected < 0:
                raise StreamFault("more bytes than content-length says")
        small = 0
        for message in self._assembler.feed(data):
            small += len(message) < self.SMALL
            if self.tunnel is not None:
                self._unconsumed += len(message) + self.KEPT
                self._moved = True
                self.tunnel.message(message)
            elif self.whole is None:
                self.whole = message
            else:
                raise MessageFault(Status(StatusCode.INTERNAL, "expected one message, received more"))
        self._settle()
        return small

    def excess(self) -> int:
        """Bytes that were unpacked from far fewer since anybody asked."""
        excess, self._assembler.excess = self._assembler.excess, 0
        return excess

    def spend(self, size: int) -> bool:
        """Whether the window had room for so many bytes, which have come."""
        self._window -= size
        return self._window >= 0

    def refill(self) -> int:
        """Bytes by which the window shall grow now; 0 if it shall not."""
        # A message longer than the window must come, and the end of a unary call behind it: at a window of nothing,
        # grpc-go does not even send the empty frame that says so. A stream goes on when its messages are taken.
        behind = 1 if self.tunnel is None else 0
        increment = max(self._assembler.missing + behind - self._window, 0)
        if self.tunnel is not None and self._unconsumed < self.WINDOW and self._window <= self.WINDOW // 2:
            increment = max(increment, self.WINDOW - self._window)
        self._window += increment
        return 0 if self.ended else increment

    def consumed(self, size: int) -> None:
        """The service behind the tunnel took a message of so many bytes."""
        self._unconsumed -= size + self.KEPT
        self._settle()

    def cancel(self) -> None:
        """Tell the service behind that nobody waits any more."""
        if self.tunnel is not None:
            self.tunnel.cancel()

    def stalled(self, now: float, stalled_s: float) -> bool:
        """Whether a message began so long ago and is not whole. Of a tunnel this is known if it is asked often."""
        if self.tunnel is not None and (self._moved or self.between_messages):
            self.began_at, self._moved = now, False
        return now - self.began_at > stalled_s

    def forget(self) -> None:
        """Give back what was taken from the budget."""
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
