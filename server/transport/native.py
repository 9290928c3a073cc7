"""The fast front: HTTP/2 and gRPC framing by pygrpc-native, in Rust and outside the GIL.

What arrived while the last batch ran comes out of `recv_batch` as one list, and goes to the engine as one. Methods
that are not on the hot path go to the grpcio server behind it, through a Unix socket.
Facts of pygrpc-native 0.5.0 that shape this file, each tried: it accepts messages of any size, so the limit is checked
here, after they came; trailing metadata must not begin with `grpc-`; `close` cuts off replies that are on their way, so
draining waits until its own counters say that every call has ended.
"""

import threading
from collections.abc import Sequence
from typing import Any, Final

from pygrpc_native import EVENT_CALL, NativeGrpcFront

from server.errors import ServingError
from server.transport.skylane_v1.intake import Intake
from server.transport.status import status_of
from server.types import NO_DEADLINE, Call

EVENTS_MAX: Final = 256
"""Calls taken from the front at once; more wait there, and become the next list."""

_UNIT_S: Final = {ord(b"H"): 3600.0, ord(b"M"): 60.0, ord(b"S"): 1.0, ord(b"m"): 1e-3, ord(b"u"): 1e-6, ord(b"n"): 1e-9}

Event = tuple[int, int, int, bytes | None, bytes | str | None]


class NativeTransport:
    """Serves one hot unary method itself, and everything else through the fallback."""

    def __init__(
        self,
        target: str,
        method: str,
        intake: Intake,
        fallback_socket: str,
        *,
        share_port: bool = False,
    ) -> None:
        """Bind the port; nothing is received before `start`, but connections are queued from now on.

        With `share_port` other processes of this user may bind it as well, and the kernel picks one for each
        connection. Raises OSError if the port cannot be bound.
        """
        self._intake = intake
        # With this key each event carries the call's grpc-timeout header, which costs 3-8 µs less than its details.
        self._front = NativeGrpcFront(
            target,
            [(method, False)],
            io_threads=1,
            client_key_metadata="grpc-timeout",
            call_details=True,  # for the events of cancelled calls
            metrics=True,  # for `busy`
            reuse_port=share_port,
        )
        self._front.set_fallback(fallback_socket)
        self._open: dict[int, Call] = {}
        self._thread = threading.Thread(target=self._receive, name="skylane-receive", daemon=True)

    @property
    def port(self) -> int:
        """The port in use."""
        return self._front.bound_port

    def start(self) -> None:
        """Begin to receive."""
        self._front.start()
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a call has begun whose reply is not yet with the client's connection."""
        counted: dict[str, Any] | None = self._front.metrics()
        assert counted is not None
        started = sum(method["started"] for method in counted["methods"].values())
        ended = sum(status["count"] for method in counted["methods"].values() for status in method["status"].values())
        return bool(started > ended)

    def close(self) -> None:
        """Close every connection at once."""
        self._front.close()
        self._thread.join()

    # --- Calls in ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        receive = self._front.recv_batch
        while (events := receive(EVENTS_MAX)) is not None:
            self._take(events)

    def _take(self, events: Sequence[Event]) -> None:
        now, calls, payloads, gone = self._intake.clock(), list[Call](), list[bytes](), list[int]()
        for kind, call_id, _, payload, timeout in events:
            if kind != EVENT_CALL:
                gone.append(call_id)
                continue
            assert payload is not None, "only cancellations come without one"
            calls.append(Call(call_id, self, now + _seconds(timeout) if type(timeout) is bytes else NO_DEADLINE))
            payloads.append(payload)
        self._intake.take(calls, payloads, self)
        self._remember(calls)
        for call_id in gone:  # now, so that it finds a call of the same list
            self._cancel(call_id)

    def _remember(self, calls: Sequence[Call]) -> None:
        """Keep the calls that are not answered yet where a cancellation finds them."""
        for call in calls:
            if not call.done:
                self._open[call.handle] = call
                if _is_done(call):  # by another thread, in between
                    self._open.pop(call.handle, None)

    def _cancel(self, call_id: int) -> None:
        call = self._open.pop(call_id, None)
        if call is not None:
            call.cancelled = True

    # --- Replies out: see server.types.Sink -------------------------------------------------------------------------

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes]) -> None:
        """See Sink. A caller who has gone is no error: `respond` says False, and there is nobody to tell."""
        respond, forget = self._front.respond, self._open.pop
        for call, reply in zip(calls, replies, strict=True):
            call.done = True
            respond(call.handle, reply)
            forget(call.handle, None)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See Sink."""
        status = status_of(error)
        for call in calls:
            call.done = True
            self._front.fail(call.handle, status.number, status.message, status.trailing)
            self._open.pop(call.handle, None)


def _is_done(call: Call) -> bool:
    return call.done


def _seconds(timeout: bytes) -> float:
    """A grpc-timeout header as seconds: digits and a unit. One that cannot be read is no deadline."""
    try:
        return int(timeout[:-1]) * _UNIT_S[timeout[-1]]
    except (ValueError, KeyError, IndexError, OverflowError):
        return NO_DEADLINE
