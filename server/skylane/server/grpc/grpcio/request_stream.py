"""One stream over grpcio: many requests in one call, each answered as soon as it is ready."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from skylane.server.core.errors import ServingError
from skylane.server.core.types import Call
from skylane.server.grpc.base.method_table import Wrap

WINDOW: Final = 256
"""Requests of one stream that are read and not yet written back; beyond it we stop reading."""


class Stream:
    """The replies of one stream, in the order in which they finish. Belongs to one event loop."""

    def __init__(self, wrap: Wrap) -> None:
        self._wrap = wrap
        self._replies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._window = asyncio.Semaphore(WINDOW)
        self._open: set[Call] = set()
        self._ended = False

    def opened(self, call: Call) -> None:
        """A request was read."""
        self._open.add(call)

    def closed(self, call: Call, result: bytes | ServingError) -> None:
        """A request was answered."""
        self._open.discard(call)
        self._replies.put_nowait(self._wrap(call, result))
        self._finish_if_done()

    async def run(
        self, requests: AsyncIterator[bytes], arrive: Callable[[bytes], None], draining: asyncio.Event
    ) -> AsyncIterator[bytes]:
        """Read requests, yield replies, until the caller has ended and all is answered, or the server drains."""
        reader = asyncio.create_task(self._read(requests, arrive))
        stopper = asyncio.create_task(draining.wait())
        stopper.add_done_callback(lambda _: reader.cancel())
        reader.add_done_callback(lambda _: self._end())
        try:
            while (reply := await self._replies.get()) is not None:
                yield reply
                self._window.release()
            with contextlib.suppress(asyncio.CancelledError):
                await reader  # raises what reading raised
        finally:
            for call in self._open:
                call.cancelled = True
            reader.cancel()
            stopper.cancel()

    async def _read(self, requests: AsyncIterator[bytes], arrive: Callable[[bytes], None]) -> None:
        async for payload in requests:
            await self._window.acquire()
            arrive(payload)

    def _end(self) -> None:
        self._ended = True
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._ended and not self._open:
            self._replies.put_nowait(None)
