"""Submits the requests of handlers to the engine, and waits for their replies. Belongs to one event loop.

Requests of one turn of the loop are submitted as one list; the engine batches them together with those over gRPC. A
reply that is available at once, from a small model or the cache, needs no task and no timer.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from skylane.server.core.batch_task import Answerer, RequestGroup
from skylane.server.core.errors import CallCancelled, DeadlineExpired, ServingError
from skylane.server.core.types import NO_DEADLINE, Call
from skylane.server.http.packed_replies import Reply, unpack

Result = bytes | ServingError
Gone = Callable[[], Coroutine[Any, Any, None]]


class EngineCalls:
    """A Sink for the engine; handlers wait in `group`."""

    def __init__(self, engine: Answerer, clock: Callable[[], float]) -> None:
        """`clock`: the engine's. Needs a running event loop, whose own clock is the same."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._arrived: list[RequestGroup] = []
        self._thread = threading.get_ident()
        self.clock = clock
        self.join_trace: Callable[[Call], None] | None = None
        """Attaches a call to the trace of the current request; None if tracing is not configured."""

    async def group(
        self, make: Callable[[Call], RequestGroup], deadline: float, gone: Gone, protocol: str, request_id: str = ""
    ) -> Reply:
        """The engine's reply. `gone` ends when the caller has disconnected; the request is not run then.

        Raises ServingError.
        """
        result: asyncio.Future[Result] = self._loop.create_future()
        call = Call(result, self, deadline, request_id=request_id)
        call.protocol = protocol
        if self.join_trace is not None:
            self.join_trace(call)
        if not self._arrived:
            self._loop.call_soon(self._flush)
        self._arrived.append(make(call))
        del make  # it may hold a decoded body, ten times its size, which the engine has read by now
        try:
            await asyncio.sleep(0)  # after this, the flush has run
            reply = result.result() if result.done() else await self._wait(result, deadline, gone)
        finally:
            call.cancelled = not result.done()
        if isinstance(reply, ServingError):
            raise reply
        return unpack(reply)

    async def _wait(self, result: "asyncio.Future[Result]", deadline: float, gone: Gone) -> Result:
        """Wait for the reply, the deadline or the caller's disconnection, whichever comes first."""
        leaving = asyncio.create_task(gone())
        timeout_s = None if deadline == NO_DEADLINE else max(0.0, deadline - self.clock())
        try:
            await asyncio.wait((result, leaving), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = leaving.done()
            leaving.cancel()
        if result.done():
            return result.result()
        if left:
            return CallCancelled("the caller has disconnected")
        return DeadlineExpired("the deadline passed before the answer was ready")

    def _flush(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._engine.submit(arrived)

    # --- Replies out: see skylane.server.core.types.Sink --------------------------------------------------------------

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:  # noqa: ARG002
        self._deliver(calls, replies)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._deliver(calls, [error] * len(calls))

    def _deliver(self, calls: Sequence[Call], results: Sequence[Result]) -> None:
        """Set the results on the loop's thread, in one step for the whole batch."""
        if threading.get_ident() == self._thread:
            _hand_over(calls, results)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_over, calls, results)


def _hand_over(calls: Sequence[Call], results: Sequence[Result]) -> None:
    for call, result in zip(calls, results, strict=True):
        call.done = True
        if not call.handle.done():  # else its caller has disconnected
            call.handle.set_result(result)
