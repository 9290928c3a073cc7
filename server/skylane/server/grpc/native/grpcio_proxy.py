"""Methods that are not hot: their messages go to the grpcio server behind, on the event loop, and answers come back.

So there is one implementation of health, reflection, streams and whatever comes, written for grpcio as everybody knows
it, and every connection still ends at the front. Bytes pass as they are; a deadline, metadata, a cancellation and both
sides' slowness pass as well.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, cast

import grpc

from skylane.server.codecs.grpc_status import Status
from skylane.server.grpc.http2 import response_headers
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.request_headers import RequestHeaders

log = logging.getLogger(__name__)

UNSENT_BYTES_MAX: Final = 2**20
"""Of one call's answers that its client has no room for; then no more are read."""

Metadata = Sequence[tuple[str, str]]

Post = Callable[[Connection, Callable[[], object]], None]
"""(connection, job): do this on the reactor's thread, and write what the connection then has to say."""


class GrpcioProxy:
    """Opens tunnels to one server. Made on the event loop; tunnels are opened by the reactor's thread."""

    def __init__(self, target: str, post: Post, more: Metadata = ()) -> None:
        """`target` is where the server behind listens. `more`: metadata that every call gets, before its own. Needs a
        running event loop."""
        self._loop, self._more = asyncio.get_running_loop(), more
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
            ],
        )
        self._post = post
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, connection: Connection, stream_id: int, headers: RequestHeaders) -> "ProxiedCall":
        call = ProxiedCall(self._loop, self._post, connection, stream_id)
        self._loop.call_soon_threadsafe(self._start, call, headers)
        return call

    def _start(self, call: "ProxiedCall", headers: RequestHeaders) -> None:
        call.task = task = self._loop.create_task(call.run(self._channel, headers, self._more))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()


class ProxiedCall:
    """One call, passed on. See receiving_stream.StreamHandler for the connection's side."""

    def __init__(self, loop: asyncio.AbstractEventLoop, post: Post, connection: Connection, stream_id: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._loop, self._connection, self._stream_id = loop, connection, stream_id
        self._to_front = post
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent = 0
        self._begun = False
        self._sent = asyncio.Event()

    @property
    def busy(self) -> bool:
        """See StreamHandler. What has been answered and goes on is somebody who watches, and would for ever."""
        return not self._begun

    # --- Called by the reactor's thread -------------------------------------------------------------------------------

    def message(self, message: bytes) -> None:
        self._call_soon(self._messages.put_nowait, message)

    def half_close(self) -> None:
        self._call_soon(self._messages.put_nowait, None)

    def cancel(self) -> None:
        self._call_soon(self._cancel)

    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there
            self._loop.call_soon_threadsafe(callback, *arguments)

    # --- On the event loop ------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def run(self, channel: grpc.aio.Channel, headers: RequestHeaders, more: Metadata = ()) -> None:
        """Pass everything on until the call ends."""
        method: Any = channel.stream_stream(headers.path)
        timeout = None if math.isinf(headers.timeout_s) else headers.timeout_s
        try:
            call = method(self._requests(), timeout=timeout, metadata=grpc.aio.Metadata(*more, *headers.metadata))
        except (ValueError, TypeError, grpc.aio.UsageError) as error:  # metadata that grpcio does not take; closing
            self._close(Status(grpc.StatusCode.INTERNAL, f"the call could not be passed on: {error}"))
            return
        try:
            await self._pass_on(call)
        except asyncio.CancelledError:
            call.cancel()
            self._post(self._connection.streams.cancel_response, self._stream_id)
            raise
        except grpc.aio.AioRpcError:
            pass  # its status is what the client gets
        except Exception:  # a fault of ours, of which the client must hear as well
            log.exception("a call to %s met a fault of the server", headers.path)
            call.cancel()
        finally:
            self._messages.put_nowait(None)  # whoever passes requests on must not wait for ever
        trailing = response_headers.custom(_metadata(await call.trailing_metadata()))
        self._close(Status(await call.code(), await call.details() or ""), trailing)

    async def _pass_on(self, call: Any) -> None:
        initial = response_headers.custom(_metadata(await call.initial_metadata()))
        if opened := bool(initial):  # a client may wait for it before any message
            self._post(self._connection.streams.open_response, self._stream_id, initial)
        while (message := await call.read()) is not grpc.aio.EOF:
            if not opened:
                self._post(self._connection.streams.open_response, self._stream_id, initial)
                opened = True
            self._begun = True
            self._unsent += len(message)
            self._post(self._connection.streams.send_message, self._stream_id, message, self._told_sent(len(message)))
            while self._unsent > UNSENT_BYTES_MAX:
                self._sent.clear()  # here: waiting for an event that is set gives nobody else a turn
                await self._sent.wait()

    async def _requests(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            yield message
            self._post(self._connection.streams.message_consumed, self._stream_id, len(message))

    def _told_sent(self, size: int) -> Callable[[], None]:
        """What the front calls when the client's windows had room for the message."""
        return lambda: self._call_soon(self._on_sent, size)

    def _on_sent(self, size: int) -> None:
        self._unsent -= size
        self._sent.set()

    def _close(self, status: Status, trailing: bytes = b"") -> None:
        self._post(self._connection.streams.close_response, self._stream_id, status, trailing)

    def _post(self, change: Callable[..., object], *arguments: object) -> None:
        self._to_front(self._connection, lambda: change(*arguments))


def _metadata(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(cast("tuple[tuple[str, str | bytes], ...]", metadata or ()))
