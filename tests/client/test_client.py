"""Both clients against a server on a socket. Every test runs for each: what one can, the other can."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

from skylane.client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    Prediction,
    Request,
    ResourceExhausted,
    SkylaneError,
    Unavailable,
)

FakeServer = Any
"""The class of conftest.py, which tests cannot import: there is no package here."""
Open = Callable[..., Any]


class Awaited:
    """An `AsyncClient` whose methods are awaited and whose streams are iterated, so that one test fits both."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: AsyncClient) -> None:
        self._loop, self._client = loop, client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = getattr(self._client, name)(*args, **options)
            if inspect.isasyncgen(result):
                return self._read(result)
            return self._loop.run_until_complete(result)

        return call

    def _read(self, stream: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._loop.run_until_complete(anext(stream))
        except StopAsyncIteration:
            return
        finally:
            self._loop.run_until_complete(stream.aclose())


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Open]:
    """Opens a client of either kind to the test's server, or to another target."""
    clients: list[Any] = []
    loop = asyncio.new_event_loop()

    def open_client(target: str | None = None, **options: Any) -> Any:
        if request.param == "blocking":
            client: Any = Client(target or server.address, **options)
        else:
            client = Awaited(loop, AsyncClient(target or server.address, **options))
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        client.close()
    loop.close()


def test_a_data_frame_goes_out_and_arrays_come_back(connect: Open, server: FakeServer) -> None:
    frame = pd.DataFrame({"carrier": ["UA", "B6"], "distance": [1400.0, np.nan]})
    prediction = connect().predict("flights_late", frame, label="stable", request_id="r1")
    assert isinstance(prediction, Prediction)
    assert (prediction.model, prediction.version, prediction.request_id) == ("flights_late", 7, "r1")
    assert prediction["carrier"].tolist() == ["UA", "B6"]
    assert np.array_equal(prediction["distance"], [1400.0, np.nan], equal_nan=True)
    assert server.requests[0].label == "stable"
    assert not server.schema_requests


def test_an_array_goes_under_the_only_tensor_and_the_schema_is_asked_once(connect: Open, server: FakeServer) -> None:
    client = connect()
    for _ in range(3):
        prediction = client.predict("digits", np.ones((2, 3)))
    assert prediction["x_float32"].dtype == np.float32
    assert len(server.schema_requests) == 1


def test_a_lone_gap_is_typed_by_the_schema(connect: Open, server: FakeServer) -> None:
    connect().predict("flights_late", [{"carrier": None, "distance": 94}])
    assert [column.WhichOneof("values") for column in server.requests[0].columns] == ["strings", "ints"]


def test_what_goes_with_every_call(connect: Open, server: FakeServer) -> None:
    connect(metadata=[("authorization", "Bearer x")]).predict("m", {"a": 1})
    assert server.metadata[0]["authorization"] == "Bearer x"
    assert server.metadata[0]["user-agent"].startswith("skylane-client/")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param("INVALID_ARGUMENT", InvalidInput, id="a wrong request"),
        pytest.param("NOT_FOUND", NotFound, id="no such model"),
        pytest.param("INTERNAL", Internal, id="the model failed"),
        pytest.param("DEADLINE_EXCEEDED", DeadlineExceeded, id="shed"),
        pytest.param("RESOURCE_EXHAUSTED", ResourceExhausted, id="too large"),
    ],
)
def test_refusals_are_typed_and_sent_once(
    connect: Open, server: FakeServer, code: str, error: type[SkylaneError]
) -> None:
    server.fail(code, "column 'x' is unknown")
    with pytest.raises(error) as refused:
        connect().predict("m", {"a": 1})
    assert refused.value.detail == "column 'x' is unknown"
    assert isinstance(refused.value.__cause__, grpc.RpcError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("refusals", "sent", "answered"),
    [
        pytest.param(1, 2, True, id="once: the caller does not notice"),
        pytest.param(2, 3, True, id="twice: nor then"),
        pytest.param(3, 3, False, id="three times: told"),
    ],
)
def test_unavailable_is_tried_again(
    connect: Open, server: FakeServer, refusals: int, sent: int, answered: bool
) -> None:
    for _ in range(refusals):
        server.fail("UNAVAILABLE", "shutting down")
    client = connect()
    if answered:
        assert len(client.predict("m", {"a": 1})) == 1
    else:
        with pytest.raises(Unavailable, match="shutting down"):
            client.predict("m", {"a": 1})
    assert len(server.requests) == sent


def test_a_request_of_a_megabyte_is_tried_again_too(connect: Open, server: FakeServer) -> None:
    server.fail("UNAVAILABLE")
    assert len(connect().predict("m", {"a": np.zeros(2**17)})) == 2**17
    assert len(server.requests) == 2


@pytest.mark.parametrize("key", ["retry-pushback-ms", "grpc-retry-pushback-ms"])
def test_a_full_queue_names_a_pause_that_is_kept_only_if_asked(connect: Open, server: FakeServer, key: str) -> None:
    client = connect()
    server.fail("RESOURCE_EXHAUSTED", "queue is full", {key: "3"})
    with pytest.raises(Overloaded) as refused:
        client.predict("m", {"a": 1})
    assert refused.value.retry_after_s == 0.003
    assert len(server.requests) == 1

    server.fail("RESOURCE_EXHAUSTED", "queue is full", {key: "3"})
    server.fail("RESOURCE_EXHAUSTED", "queue is full", {key: "3"})
    client.predict("m", {"a": 1}, retry_overload=2)
    assert len(server.requests) == 4


def test_a_deadline_passes(connect: Open, server: FakeServer) -> None:
    with pytest.raises(DeadlineExceeded, match="no answer within the timeout"):
        connect().predict("never", {"a": 1}, timeout_s=0.02)


def test_a_reply_over_the_limit_names_the_option(connect: Open) -> None:
    client = connect(max_message_bytes=1000)
    with pytest.raises(ResourceExhausted, match="max_message_bytes"):
        client.predict("m", {"a": np.zeros(1000)})
    with pytest.raises(ResourceExhausted, match="max_message_bytes"):
        client.predict("large", {"a": 1})


def test_the_callers_options_are_those_that_grpc_takes(connect: Open) -> None:
    client = connect(options=[("grpc.max_receive_message_length", 1000)])
    with pytest.raises(ResourceExhausted, match="max_message_bytes"):
        client.predict("large", {"a": 1})


def test_nothing_answers(connect: Open) -> None:
    client = connect("localhost:1")
    with pytest.raises(Unavailable):
        client.predict("m", {"a": 1})
    assert not client.ready()


@pytest.mark.parametrize(
    ("model", "ready"),
    [
        pytest.param(None, True, id="the server"),
        pytest.param("flights_late", True, id="a model"),
        pytest.param("loading", False, id="a model that is not"),
        pytest.param("nope", False, id="no such model"),
    ],
)
def test_ready(connect: Open, model: str | None, ready: bool) -> None:
    assert connect().ready(model) is ready


def test_health_in_the_words_of_the_protocol(connect: Open) -> None:
    assert connect().health("flights_late") == "SERVING"
    assert connect().health("loading") == "NOT_SERVING"
    with pytest.raises(NotFound):
        connect().health("nope")


def test_what_the_server_has(connect: Open) -> None:
    client = connect()
    flights, digits = client.models()
    assert (flights.name, flights.labels) == ("flights_late", {"stable": 7})
    assert [(each.version, each.state, each.reason) for each in flights.versions] == [
        (7, "ready", ""),
        (1, "failed", "model.onnx: damaged"),
    ]
    assert digits.name == "digits"

    model = client.model("flights_late", label="stable")
    assert [(column.name, column.dtype) for column in model.columns][:2] == [
        ("carrier", "string"),
        ("distance", "float32"),
    ]
    assert model.classes == ("late", "on time")
    assert model.manifest == {"model": "flights_late"}
    with pytest.raises(NotFound, match="there are: flights_late"):
        client.model("nope")


def test_a_stream_answers_each_as_it_finishes(connect: Open) -> None:
    requests = [
        ("slow", {"a": 1}),
        Request(model="quick", data={"a": 2}, request_id="mine"),
        ("bad", {"a": 3}),
        ("full", {"a": 4}),
    ]
    answers = list(connect().predict_stream(requests))
    assert [request_id for request_id, _ in answers] == ["mine", "2", "3", "0"]
    found = dict(answers)
    assert found["mine"]["a"].tolist() == [2]
    assert isinstance(found["2"], InvalidInput)
    assert isinstance(found["3"], Overloaded)
    assert found["3"].retry_after_s == 0.04
    assert found["0"].model == "slow"


def test_what_a_refusal_on_a_stream_makes_forgotten(connect: Open, server: FakeServer) -> None:
    client = connect()
    server.models["bad"] = server.models["digits"]
    list(client.predict_stream([("bad", np.ones((1, 3)))]))
    list(client.predict_stream([("bad", np.ones((1, 3)))]))
    assert len(server.schema_requests) == 2


@pytest.mark.parametrize(
    ("requests", "answered", "error"),
    [
        pytest.param([("m", {"a": 1}), ("m", {"a": 1j})], ["0"], TypeError, id="data that cannot be sent"),
        pytest.param(
            [Request(model="slow", data={"a": 1}, request_id="1"), ("m", {"a": 1})], ["1"], ValueError, id="an id twice"
        ),
        pytest.param([Request(model="m", data={"a": 1}, request_id="é" * 129)], [], ValueError, id="an id too long"),
        pytest.param([("break", {"a": 1})], [], Unavailable, id="the server goes away"),
        pytest.param([("lost", {"a": 1}), ("m", {"a": 1})], ["1"], Unavailable, id="the server forgets one"),
        pytest.param([("end", {"a": 1}), ("m", {"a": 1})], [], Unavailable, id="the server ends the stream early"),
        pytest.param([("stranger", {"a": 1})], [], Internal, id="the server answers what nobody asked"),
    ],
)
def test_what_ends_a_stream_is_raised_after_the_answers_so_far(
    connect: Open, requests: list[Any], answered: list[str], error: type[Exception]
) -> None:
    answers: list[str] = []
    stream = connect().predict_stream(requests)
    with pytest.raises(error):
        answers.extend(request_id for request_id, _ in stream)
    assert answers == answered


def test_many_come_back_in_order_however_they_finish(connect: Open) -> None:
    # Every second one is answered only when the stream ends, so all must fit into the window.
    items = [{"a": [n]} for n in range(20)]
    answers = connect().predict_many("odd_slow", items, window=20)
    assert [answer["a"].tolist() for answer in answers] == [[n] for n in range(20)]


def test_the_window_bounds_how_far_items_are_read_ahead(connect: Open) -> None:
    read: list[int] = []

    def items() -> Iterator[Any]:
        for n in range(1000):
            read.append(n)
            yield {"a": n}

    answers = connect().predict_many("m", items(), window=3)
    for handed_out in range(1, 11):
        next(answers)
        assert len(read) <= handed_out + 3
    answers.close()
    assert len(read) <= 14


def test_a_stream_that_nobody_reads_to_its_end_is_cancelled(connect: Open, server: FakeServer) -> None:
    answers = connect().predict_many("m", iter(lambda: {"a": 1}, None), window=2)
    next(answers)
    answers.close()
    assert server.stream_cancelled.wait(10)


def test_many_with_an_error_among_them(connect: Open) -> None:
    client = connect()
    items = [{"a": 1}, {"a": -1}, {"a": 2}]
    first, second, third = client.predict_many("no_negatives", items, return_errors=True)
    assert isinstance(second, InvalidInput)
    assert (first["a"][0], third["a"][0]) == (1, 2)

    answers = client.predict_many("no_negatives", items)
    assert next(answers)["a"][0] == 1
    with pytest.raises(InvalidInput):
        next(answers)


def test_a_window_of_nothing(connect: Open) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(connect().predict_many("m", [], window=0))


async def test_asynchronous_sources(server: FakeServer) -> None:
    async def items() -> AsyncIterator[Any]:
        for n in range(3):
            yield {"a": n}

    async with AsyncClient(server.address) as client:
        answers = [answer["a"][0] async for answer in client.predict_many("m", items())]
    assert answers == [0, 1, 2]


def test_one_asynchronous_client_in_several_event_loops(server: FakeServer) -> None:
    client = AsyncClient(server.address, max_in_flight=1)

    async def use() -> list[Any]:
        answers = await asyncio.gather(*(client.predict("digits", np.ones((1, 3))) for _ in range(3)))
        streamed = [answer async for answer in client.predict_many("m", [{"a": 1}])]
        return [*answers, *streamed, await client.model("digits"), await client.health("flights_late")]

    for _ in range(3):
        assert len(asyncio.run(use())) == 6
    with ThreadPoolExecutor(2) as threads:
        assert [len(answers) for answers in threads.map(lambda _: asyncio.run(use()), range(4))] == [6] * 4
    asyncio.run(client.close())


def test_a_run_that_ends_amid_calls_leaves_the_client_usable_in_the_next(server: FakeServer) -> None:
    client = AsyncClient(server.address, max_in_flight=1)

    async def abandon() -> None:
        call = asyncio.create_task(client.predict("never", {"a": 1}))
        waiting = asyncio.create_task(client.predict("never", {"a": 1}))
        while not server.requests:
            await asyncio.sleep(0)
        assert not call.done()
        assert not waiting.done()

    async def use() -> Any:
        async with client:
            return await client.predict("m", {"a": 1})

    asyncio.run(abandon())
    assert asyncio.run(use()).model == "m"


def test_a_closed_asynchronous_client_stays_closed(server: FakeServer) -> None:
    client = AsyncClient(server.address)
    refused = pytest.raises(ValueError, match=r"AsyncClient\('localhost:\d+'\) is closed: create another one")

    async def use_after_close() -> None:
        await client.predict("m", {"a": 1})
        await client.close()
        await client.close()
        with refused:
            await client.predict("m", {"a": 1})

    asyncio.run(use_after_close())
    with refused:
        asyncio.run(client.predict("m", {"a": 1}))


async def test_calls_at_the_same_time_share_one_connection(server: FakeServer) -> None:
    async with AsyncClient(server.address) as client:
        answers = await asyncio.gather(*(client.predict("m", {"a": n}) for n in range(20)))
    assert [answer["a"][0] for answer in answers] == list(range(20))


async def test_calls_that_start_together_ask_for_the_schema_once(server: FakeServer) -> None:
    async with AsyncClient(server.address) as client:
        await asyncio.gather(*(client.predict("digits", np.ones((1, 3))) for _ in range(20)))
    assert len(server.schema_requests) == 1


async def test_calls_beyond_the_bound_wait_for_room_within_their_timeout(server: FakeServer) -> None:
    async with AsyncClient(server.address, max_in_flight=1) as client:
        first = asyncio.create_task(client.predict("never", {"a": 1}))
        while not server.requests:
            await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match="max_in_flight"):
            await client.predict("m", {"a": 1}, timeout_s=0.02)
        first.cancel()
        assert len(await client.predict("m", {"a": 1})) == 1
    assert [request.model for request in server.requests] == ["never", "m"]


async def test_cancelling_a_task_cancels_its_call(server: FakeServer) -> None:
    async with AsyncClient(server.address) as client:
        call = asyncio.create_task(client.predict("never", {"a": 1}))
        while not server.requests:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_it_closes_with_its_block(server: FakeServer) -> None:
    with Client(server.address) as client:
        assert repr(client) == f"Client('{server.address}')"
    with pytest.raises(ValueError, match="closed channel"):
        client.predict("m", {"a": 1})


def test_importing_the_client_brings_nothing_that_a_service_does_not_need() -> None:
    code = "import sys, skylane.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    unwanted = {"onnxruntime", "onnx", "sklearn", "pandas", "server", "convert", "msgspec", "grpc_health.v1"}
    assert not unwanted & set(loaded)
    assert {"grpc", "numpy", "google"} <= set(loaded)


def test_named_columns_for_a_model_of_one_tensor_are_told_what_to_send(connect: Open, server: FakeServer) -> None:
    del server.models["digits"].columns[:]
    server.fail("INVALID_ARGUMENT", "'x_float32' is missing, and 64 names are not known")
    with pytest.raises(InvalidInput) as refused:
        connect().predict("digits", pd.DataFrame({f"pixel_{n}": [1.0] for n in range(64)}))
    assert refused.value.detail == (
        "digits takes no columns by name, but 'x_float32' float32 [-1, 3]; the data has 64 columns: "
        "send frame.to_numpy()"
    )


FLIGHT = {"carrier": "UA", "distance": 1.5, "hour": 5, "weekend": True}


def test_columns_beyond_the_models_are_told_to_be_left_out(connect: Open, server: FakeServer) -> None:
    server.fail("INVALID_ARGUMENT", "inputs: 'gate' and 'seat' are not known; the model takes the columns …")
    with pytest.raises(InvalidInput) as refused:
        connect().predict("flights_late", {**FLIGHT, "gate": 3, "seat": "9A"})
    assert refused.value.detail == (
        "the data has columns that flights_late does not take: 'gate', 'seat'. Leave them out, as in "
        "frame[[column.name for column in client.model('flights_late').columns]]; scikit-learn's ColumnTransformer "
        "ignores such columns, and with them the misspelt name of a column that may be missing"
    )


def test_a_misspelt_column_is_told_in_the_servers_words(connect: Open, server: FakeServer) -> None:
    detail = "inputs: 'hours' is not known: did you mean 'hour'?"
    server.fail("INVALID_ARGUMENT", detail)
    with pytest.raises(InvalidInput) as refused:
        connect().predict("flights_late", {**{name: FLIGHT[name] for name in FLIGHT if name != "hour"}, "hours": 5})
    assert refused.value.detail == detail


@pytest.mark.parametrize(
    ("name", "meant"), [("x_float_32", "; did you mean 'x_float32'?"), ("pixels", "")], ids=["misspelt", "another"]
)
def test_a_tensor_of_another_name_is_told_the_right_one(
    connect: Open, server: FakeServer, name: str, meant: str
) -> None:
    del server.models["digits"].columns[:]
    with pytest.raises(ValueError, match="has no tensor") as refused:
        connect().predict("digits", {name: np.ones((2, 3), np.float32)})
    assert str(refused.value) == f"digits takes 'x_float32' float32 [-1, 3], and has no tensor {name!r}{meant}"


def test_health_of_an_unknown_model_names_those_there_are(connect: Open) -> None:
    with pytest.raises(NotFound) as refused:
        connect().health("nope")
    assert refused.value.detail == "there is no model 'nope'; there are: flights_late, digits"


def test_a_timeout_of_ages_is_none(connect: Open) -> None:
    client = connect(timeout_s=1e18)
    assert client.predict("m", {"a": 1}, timeout_s=1e300).model == "m"
    assert [answer.model for answer in client.predict_many("m", [{"a": 1}], timeout_s=1e18)] == ["m"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        pytest.param({"timeout_s": "5"}, TypeError, "timeout_s is '5': expected a number of seconds", id="text"),
        pytest.param({"timeout_s": float("nan")}, ValueError, "timeout_s is NaN", id="no number"),
        pytest.param({"version": "1"}, TypeError, "version is '1': expected a whole number", id="a version as text"),
    ],
)
def test_arguments_of_another_type_are_named(
    connect: Open, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as refused:
        connect().predict("m", {"a": 1}, **options)
    assert says in str(refused.value)
