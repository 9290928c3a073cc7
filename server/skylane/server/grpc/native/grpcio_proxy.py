"""Forwards methods that are not batched to the grpcio server, on the event loop, and its replies back.

So these methods are implemented once, as ordinary grpcio services, while the native transport has every connection.
Messages are forwarded unchanged, with deadlines, metadata, cancellations, and flow control in both directions.
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
"""(connection, job): call the job on the reactor's thread, and write what the connection then has ready."""


class GrpcioProxy:
    """Forwards calls to one server. Created on the event loop; calls are opened by the reactor's thread."""

    def __init__(self, target: str, post: Post, more: Metadata = ()) -> None:
        """`target`: address of the grpcio server. `more`: metadata that is added to every call. Needs a running event
        loop."""
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
        """End all open calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()


class ProxiedCall:
    """One forwarded call. A StreamHandler."""

    def __init__(self, loop: asyncio.AbstractEventLoop, post: Post, connection: Connection, stream_id: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._loop, self._connection, self._stream_id = loop, connection, stream_id
        self._post_to_reactor = post
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent = 0
        self._has_replied = False
        self._sent = asyncio.Event()

    @property
    def busy(self) -> bool:
        """See StreamHandler. A call that has sent a reply and continues may watch for ever."""
        return not self._has_replied

    # --- Called by the reactor's thread -------------------------------------------------------------------------------

    def message(self, message: bytes) -> None:
        self._call_soon(self._messages.put_nowait, message)

    def half_close(self) -> None:
        self._call_soon(self._messages.put_nowait, None)

    def cancel(self) -> None:
        self._call_soon(self._cancel)

    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(callback, *arguments)

    # --- On the event loop ------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def run(self, channel: grpc.aio.Channel, headers: RequestHeaders, more: Metadata = ()) -> None:
        """Forward everything until the call ends."""
        method: Any = channel.stream_stream(headers.path)
        timeout = None if math.isinf(headers.timeout_s) else headers.timeout_s
        try:
            call = method(self._requests(), timeout=timeout, metadata=grpc.aio.Metadata(*more, *headers.metadata))
        except (ValueError, TypeError, grpc.aio.UsageError) as error:  # invalid metadata for grpcio; or it is closing
            self._close(Status(grpc.StatusCode.INTERNAL, f"the call could not be forwarded: {error}"))
            return
        try:
            await self._pass_on(call)
        except asyncio.CancelledError:
            call.cancel()
            self._post(self._connection.streams.cancel_response, self._stream_id)
            raise
        except grpc.aio.AioRpcError:
            pass  # the client gets its status
        except Exception:  # a bug: the client gets the status of the cancelled call
            log.exception("a call to %s failed with an internal error", headers.path)
            call.cancel()
        finally:
            self._messages.put_nowait(None)  # so that `_requests` ends
        trailing = response_headers.custom(_metadata(await call.trailing_metadata()))
        self._close(Status(await call.code(), await call.details() or ""), trailing)

    async def _pass_on(self, call: Any) -> None:
        initial = response_headers.custom(_metadata(await call.initial_metadata()))
        if opened := bool(initial):  # a client may wait for headers before it sends a message
            self._post(self._connection.streams.open_response, self._stream_id, initial)
        while (message := await call.read()) is not grpc.aio.EOF:
            if not opened:
                self._post(self._connection.streams.open_response, self._stream_id, initial)
                opened = True
            self._has_replied = True
            self._unsent += len(message)
            self._post(
                self._connection.streams.send_message, self._stream_id, message, self._sent_callback(len(message))
            )
            while self._unsent > UNSENT_BYTES_MAX:
                self._sent.clear()  # here: waiting for an event that is set would not yield
                await self._sent.wait()

    async def _requests(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            yield message
            self._post(self._connection.streams.message_consumed, self._stream_id, len(message))

    def _sent_callback(self, size: int) -> Callable[[], None]:
        """The function that is called when the client's windows had room for the message."""
        return lambda: self._call_soon(self._on_sent, size)

    def _on_sent(self, size: int) -> None:
        self._unsent -= size
        self._sent.set()

    def _close(self, status: Status, trailing: bytes = b"") -> None:
        self._post(self._connection.streams.close_response, self._stream_id, status, trailing)

    def _post(self, change: Callable[..., object], *arguments: object) -> None:
        self._post_to_reactor(self._connection, lambda: change(*arguments))


def _metadata(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(cast("tuple[tuple[str, str | bytes], ...]", metadata or ()))
