"""The asyncio client. calls.py has the logic of each call; this module executes its steps with grpc.aio."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from skylane.client.calls import Acquire, Calls, Pause, Step, Steps, stream_timeout
from skylane.client.channel import MAX_MESSAGE_BYTES, PREDICT_STREAM, UNARY, Health, channel_options, check_target
from skylane.client.decoding import Prediction
from skylane.client.encoding import Request
from skylane.client.errors import SkylaneError, error_of_rpc
from skylane.client.outcomes import OutcomeReceipt, Outcomes
from skylane.client.schema import Model, ModelStatus
from skylane.client.streams import Answer, InOrder, Ledger, schema_may_be_old
from skylane.v1.prediction_pb2 import PredictRequest
from skylane.version import __version__

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Connection:
    """The state of one event loop: grpc.aio's channel and asyncio's locks cannot be used in another one."""

    channel: grpc.aio.Channel
    unary: dict[str, Any]
    """Path → the method to call."""
    calls: Calls


class AsyncClient:
    """`Client` for asyncio, with the same methods and errors. In each event loop it has a connection of its own.

        async with AsyncClient("localhost:8500", timeout_s=2.0) as client:  # seconds for each call
            prediction = await client.predict("flights_late", frame)  # a data frame with the model's columns
            prediction.probabilities  # (rows, classes)
            async for prediction in client.predict_many("flights_late", frames):  # one stream, answers in order
                ...
            async for request_id, answer in client.predict_stream([("flights_late", frame), ("digits", pixels)]):
                ...  # as each is finished: a Prediction, or the SkylaneError of that request

    So a client can be used in one `asyncio.run` after another; a connection ends with its loop. `close` closes all.

    Each loop sends at most `max_in_flight` calls at a time; others wait within their timeout, because servers bound the
    streams of a connection (of 2000 calls at once, 8 to 500 failed). Streaming calls do not count.

    Data is encoded and replies are decoded in the event loop: microseconds for a few rows, milliseconds for megabytes.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = 5.0,
        retry_overload: int = 0,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        max_in_flight: int = 512,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        check_target(target)
        self.target = target
        self._timeout_s, self._retry_overload, self._max_in_flight = timeout_s, retry_overload, max_in_flight
        self._new_calls()  # raises now, not at the first call, if an argument is wrong
        self._metadata = tuple(metadata)
        self._credentials = credentials
        self._options = channel_options(target, __version__, max_message_bytes, options)
        self._connections: dict[asyncio.AbstractEventLoop, _Connection] = {}
        self._closed = False

    async def predict(
        self,
        model: str,
        data: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        request_id: str = "",
        retry_overload: int | None = None,
    ) -> Prediction:
        """Answer rows of features with the model's outputs. See `Client.predict`."""
        request = Request(model=model, data=data, version=version, label=label, outputs=outputs, request_id=request_id)
        connection = self._connected()
        return await self._run(connection, connection.calls.predict(request, timeout_s, retry_overload))

    async def predict_stream(
        self,
        requests: Iterable[Request | tuple[str, Any]] | AsyncIterable[Request | tuple[str, Any]],
        *,
        timeout_s: float = math.inf,
    ) -> AsyncGenerator[tuple[str, Answer], None]:
        """Send many requests over one call, and yield (request_id, Prediction or SkylaneError) as each is finished.

        See `Client.predict_stream`. `requests` is read in a separate task; it may be asynchronous.
        """
        ledger, failures, connection = Ledger(), list[Exception](), self._connected()
        calls = connection.calls

        async def outgoing() -> AsyncIterator[PredictRequest]:
            try:
                async for item in _each(requests):
                    yield await self._run(connection, calls.message(ledger.admit(item), calls.deadline(None)))
                ledger.all_sent = True
            except Exception as error:  # raised below, in the caller's task; grpc would only log it
                failures.append(error)

        stream = connection.channel.stream_stream(
            PREDICT_STREAM.path, PREDICT_STREAM.request.SerializeToString, PREDICT_STREAM.reply.FromString
        )
        call = stream(outgoing(), timeout=stream_timeout(timeout_s), metadata=self._metadata)
        try:
            async for reply in call:
                request, answer = ledger.settle(reply)
                if schema_may_be_old(answer):
                    calls.forget(request)
                yield request.request_id, answer
        except grpc.RpcError as error:
            raise error_of_rpc(error) from error
        finally:
            call.cancel()
        if failures:
            raise failures[0]
        ledger.close()

    async def predict_many(
        self,
        model: str,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] = (),
        window: int = 64,
        timeout_s: float = math.inf,
        return_errors: bool = False,
    ) -> AsyncGenerator[Any, None]:
        """Answer all `items` in order over one stream. See `Client.predict_many`."""
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        room = asyncio.Semaphore(window)

        async def paced() -> AsyncIterator[Request]:
            source = _each(items)
            while await room.acquire():
                try:
                    data = await anext(source)
                except StopAsyncIteration:
                    return
                yield Request(model=model, data=data, version=version, label=label, outputs=outputs)

        ordered = InOrder[Answer]()
        stream = self.predict_stream(paced(), timeout_s=timeout_s)
        try:
            async for request_id, answer in stream:
                for ready in ordered.add(int(request_id), answer):
                    if isinstance(ready, SkylaneError) and not return_errors:
                        raise ready
                    room.release()
                    yield ready
        finally:
            await stream.aclose()

    async def record_outcomes(
        self,
        model: str,
        prediction_ids: str | Iterable[str] | None = None,
        *,
        rows: int | Iterable[int] | None = None,
        entities: str | Iterable[str] | None = None,
        event_at: datetime | Iterable[datetime] | None = None,
        labels: Any = None,
        values: Any = None,
        happened_at: datetime | Iterable[datetime] | None = None,
        known_at: datetime | Iterable[datetime] | None = None,
        timeout_s: float | None = None,
    ) -> OutcomeReceipt:
        """Record what became true after predictions. See `Client.record_outcomes`."""
        outcomes = Outcomes(
            model, prediction_ids, rows=rows, entities=entities, event_at=event_at, labels=labels, values=values,
            happened_at=happened_at, known_at=known_at,
        )  # fmt: skip
        connection = self._connected()
        return await self._run(connection, connection.calls.record_outcomes(outcomes, timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> tuple[ModelStatus, ...]:
        """Every model of the server, with the states of its versions and its labels."""
        connection = self._connected()
        return await self._run(connection, connection.calls.models(timeout_s))

    async def model(
        self, name: str, version: int | None = None, label: str | None = None, *, timeout_s: float | None = None
    ) -> Model:
        """Inputs and outputs of one version: the requested one, or the latest that is ready. Raises NotFound."""
        connection = self._connected()
        return await self._run(connection, connection.calls.model(name, version, label, timeout_s))

    async def health(self, model: str | None = None, *, timeout_s: float | None = None) -> Health:
        """The state of the server or of one model, from the gRPC health service. Raises NotFound and Unavailable."""
        connection = self._connected()
        return await self._run(connection, connection.calls.health(model, timeout_s))

    async def ready(self, model: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Whether the server, or this model on it, accepts requests now. False if it cannot be reached."""
        connection = self._connected()
        return await self._run(connection, connection.calls.ready(model, timeout_s))

    async def close(self) -> None:
        """Close the connections; calls under way in this event loop are cancelled."""
        self._closed = True
        own = self._connections.pop(asyncio.get_running_loop(), None)
        self._connections.clear()  # a channel closes when it is no longer referenced
        if own is not None:
            await own.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.target!r})"

    def _connected(self) -> _Connection:
        """The connection of the running event loop, made on first use. Raises ValueError if closed."""
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None:
            if self._closed:
                raise ValueError(f"{self!r} is closed: create another one")
            for ended in [other for other in list(self._connections) if other.is_closed()]:
                self._connections.pop(ended, None)  # a channel closes when it is no longer referenced
            connection = self._connections[loop] = self._connect()
        return connection

    def _connect(self) -> _Connection:
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self.target, self._options)
        else:
            channel = grpc.aio.secure_channel(self.target, self._credentials, self._options)
        unary = {
            method.path: channel.unary_unary(method.path, method.request.SerializeToString, method.reply.FromString)
            for method in UNARY
        }
        return _Connection(channel, unary, self._new_calls())

    def _new_calls(self) -> Calls:
        return Calls(self._timeout_s, self._retry_overload, asyncio.Lock, room=asyncio.Semaphore(self._max_in_flight))

    async def _run(self, connection: _Connection, steps: Steps[T]) -> T:
        """Execute the steps of one call."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = await self._carry_out(connection, step)
                except grpc.RpcError as error:
                    step = steps.throw(error_of_rpc(error))
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()  # releases the call's locks, also when cancelled

    async def _carry_out(self, connection: _Connection, step: Step) -> Any:
        if isinstance(step, Acquire):
            if not step.lock.locked():
                return await step.lock.acquire()  # at once, without a timer
            try:
                async with asyncio.timeout(step.timeout_s):
                    return await step.lock.acquire()
            except TimeoutError:
                return False
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await connection.unary[step.method.path](step.request, timeout=step.timeout_s, metadata=self._metadata)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
