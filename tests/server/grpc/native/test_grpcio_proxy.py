"""Methods that are not batched, between real clients and a real grpcio server behind the reactor: all bytes pass, in
order, and whoever is slow, fails or leaves is felt on the other side and nowhere else."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.config import ReactorConfig
from skylane.server.grpc.native.grpcio_proxy import GrpcioProxy
from skylane.server.grpc.native.reactor import Reactor
from skylane.server.host.addresses import bind
from support.h2 import STREAMED

PATIENCE_S = 30.0
Context = Any  # grpc.aio.ServicerContext, whose stubs want types that bytes do not have


class Service:
    """Does what the metadata `do` says, and remembers how it ended."""

    def __init__(self) -> None:
        self.sent = self.read = 0
        self.ended, self.entered = threading.Event(), threading.Event()

    async def serve(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        self.entered.set()
        context.add_done_callback(lambda _: self.ended.set())
        async for reply in getattr(self, dict(context.invocation_metadata()).get("do", "echo"))(requests, context):
            self.sent += 1
            yield reply

    async def echo(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            self.read += 1
            yield request

    async def metadata(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        own = [(key, value) for key, value in context.invocation_metadata() if key.startswith("own")]
        await context.send_initial_metadata(own)
        context.set_trailing_metadata([("last-bin", b"\0\xff"), ("last", "text")])
        async for request in requests:
            yield request

    async def fail_in_the_middle(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        yield b"one"
        await context.abort(grpc.StatusCode.DATA_LOSS, "größer als 100 %", (("why", "because"),))

    async def end_after_one(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            return

    async def small_then_large(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        for size in (100, 3 * 2**20) * 5:
            yield bytes(size)

    async def pour(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**16)

    async def watch(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        yield b"as it is"
        await asyncio.Event().wait()

    async def ignore(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


class Behind:
    """The grpcio server, its loop and its proxy, behind a reactor."""

    def __init__(self, directory: Path) -> None:
        self.service = Service()
        self._target = f"unix:{directory / 'behind.sock'}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    async def _start(self) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        self._server = grpc.aio.server(options=options)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self.service.serve)
        path = STREAMED.split("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(path[1], {path[2]: handler}),))
        self._server.add_insecure_port(self._target)
        await self._server.start()
        bound = bind("127.0.0.1", 0)
        self.address = f"127.0.0.1:{bound.port}"
        self._proxy = GrpcioProxy(self._target, lambda connection, job: self.reactor.change(connection, job))
        config = ReactorConfig(method_handlers={}, open_stream=self._proxy.open, limits=Limits())
        self.reactor = Reactor(bound.sockets, config)
        self.reactor.start()

    async def _tasks(self) -> int:
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()) - 1

    @property
    def tasks(self) -> int:
        """Tasks on the loop of the tunnels and of the server behind."""
        return asyncio.run_coroutine_threadsafe(self._tasks(), self._loop).result(PATIENCE_S)

    async def _stop(self) -> None:
        await self._server.stop(None)
        await self._proxy.close()

    def __enter__(self) -> "Behind":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE_S)
        self.reactor.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    with Behind(tmp_path) as behind:
        yield behind


@pytest.fixture
def method(behind: Behind) -> Iterator[Any]:
    with grpc.insecure_channel(behind.address, options=UNLIMITED) as channel:
        yield channel.stream_stream(STREAMED)


def call(method: Any, do: str, requests: Iterator[bytes] | None = None, *more: tuple[str, str | bytes]) -> Any:
    return method(requests or iter(()), metadata=(("do", do), *more), timeout=PATIENCE_S)


def test_many_messages_in_order(method: Any) -> None:
    messages = [b"%d" % number * (number % 50) for number in range(3000)]
    assert list(call(method, "echo", iter(messages))) == messages


def test_large_messages_both_ways(method: Any) -> None:
    messages = [bytes([number]) * 10 * 2**20 for number in range(3)]
    assert list(call(method, "echo", iter(messages))) == messages


def test_a_small_answer_and_then_a_large_one(method: Any) -> None:
    """That is: the event loop is never held by who waits for a client's windows."""
    assert [len(reply) for reply in call(method, "small_then_large")] == [100, 3 * 2**20] * 5


def test_metadata_both_ways_and_before_any_message(method: Any) -> None:
    waits = threading.Event()

    def requests() -> Iterator[bytes]:
        assert waits.wait(PATIENCE_S)
        yield b"request"

    stream = call(method, "metadata", requests(), ("own", "text"), ("own-bin", b"\0\1\xff"))
    initial = dict(stream.initial_metadata())  # comes although no message has been sent
    waits.set()
    assert (initial["own"], initial["own-bin"]) == ("text", b"\0\1\xff")
    assert list(stream) == [b"request"]
    trailing = dict(stream.trailing_metadata())
    assert (trailing["last"], trailing["last-bin"]) == ("text", b"\0\xff")


def test_a_service_that_fails_in_the_middle(method: Any) -> None:
    stream = call(method, "fail_in_the_middle")
    assert next(stream) == b"one"
    with pytest.raises(grpc.RpcError):
        next(stream)
    assert (stream.code(), stream.details()) == (grpc.StatusCode.DATA_LOSS, "größer als 100 %")
    assert dict(stream.trailing_metadata())["why"] == "because"


def test_a_method_that_nobody_has(behind: Behind) -> None:
    with grpc.insecure_channel(behind.address, options=UNLIMITED) as channel:
        missing: Any = channel.unary_unary("/no.Such/Method")
        assert missing.future(b"", timeout=PATIENCE_S).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_passes_through(method: Any, behind: Behind) -> None:
    stream = method(iter(()), metadata=(("do", "ignore"),), timeout=2.0)
    with pytest.raises(grpc.RpcError):
        next(stream)
    assert stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert behind.service.ended.wait(PATIENCE_S)


def test_a_client_that_cancels(method: Any, behind: Behind) -> None:
    stream = call(method, "pour")
    next(stream)
    stream.cancel()
    assert behind.service.ended.wait(PATIENCE_S)


def test_a_client_that_does_not_read_stops_the_service(method: Any, behind: Behind) -> None:
    """And others on the same connection are served."""
    stream = call(method, "pour")
    next(stream)
    before, now = -1, 0
    while before != now:
        for _ in range(30):
            assert list(call(method, "echo", iter([b"other"]))) == [b"other"]
        before, now = now, behind.service.sent - 30 * (behind.service.read // 30)
    assert now * 2**16 < 64 * 2**20
    stream.cancel()


def test_a_service_that_does_not_read_stops_the_client(method: Any, behind: Behind) -> None:
    made = 0
    running = threading.Event()

    def requests() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            running.set()
            yield bytes(2**16)

    stream = call(method, "ignore", requests())
    assert behind.service.entered.wait(PATIENCE_S)
    before = -1
    while before != made:
        before = made
        for _ in range(30):
            assert list(call(method, "echo", iter([b"other"]))) == [b"other"]
    assert made * 2**16 < 64 * 2**20
    stream.cancel()


def test_who_watches_does_not_hold_up_a_server_that_goes(method: Any, behind: Behind) -> None:
    unanswered = call(method, "ignore")
    assert behind.service.entered.wait(PATIENCE_S)
    was_busy = behind.reactor.busy
    unanswered.cancel()
    watching = call(method, "watch")
    assert next(watching) == b"as it is"
    while behind.reactor.busy:  # hangs, if it is busy for as long as somebody watches
        assert list(call(method, "echo", iter([b"other"]))) == [b"other"]
    watching.cancel()
    assert was_busy, "for as long as there is no answer"


def test_a_service_that_ends_first_leaves_nothing_behind(method: Any, behind: Behind) -> None:
    list(call(method, "echo", iter([b"warm"])))
    before, forever = behind.tasks, threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"request"
        forever.wait(PATIENCE_S)

    for _ in range(20):
        assert list(call(method, "end_after_one", requests())) == [b"request"]
    forever.set()
    while behind.tasks > before:  # hangs, if one of them is never done
        list(call(method, "echo", iter([b"other"])))


async def test_an_asynchronous_client(behind: Behind) -> None:
    async with grpc.aio.insecure_channel(behind.address, options=UNLIMITED) as channel:
        method: Any = channel.stream_stream(STREAMED)
        stream = method(metadata=(("do", "echo"),), timeout=PATIENCE_S)
        for number in range(100):
            await stream.write(b"%d" % number)
            assert await stream.read() == b"%d" % number
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        behind.service.ended.clear()
        poured = method(metadata=(("do", "pour"),), timeout=PATIENCE_S)
        await poured.read()
        poured.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poured.code()
        assert await asyncio.to_thread(behind.service.ended.wait, PATIENCE_S)
