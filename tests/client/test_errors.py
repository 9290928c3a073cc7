"""gRPC statuses → exceptions."""

import pickle

import grpc
import grpc.aio
import pytest

import skylane.client
from skylane.client.errors import (
    CODE_OF_NUMBER,
    ERROR_OF,
    Overloaded,
    SkylaneError,
    Unavailable,
    Unknown,
    error_of,
    error_of_rpc,
)


def test_there_is_an_exception_for_every_status_but_ok() -> None:
    assert set(ERROR_OF) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert all(cls.code is code for code, cls in ERROR_OF.items())


def test_every_exception_is_exported() -> None:
    for cls in (*ERROR_OF.values(), Overloaded, SkylaneError):
        assert getattr(skylane.client, cls.__name__) is cls
        assert cls.__name__ in skylane.client.__all__


@pytest.mark.parametrize(
    ("code", "pushback", "cls", "retry_after_s"),
    [
        pytest.param(8, 250, "Overloaded", 0.25, id="a full queue names a pause"),
        pytest.param(8, 0, "Overloaded", 0.0, id="a pause of nothing is one"),
        pytest.param(8, None, "ResourceExhausted", None, id="without a pause, waiting does not help"),
        pytest.param(8, -1, "ResourceExhausted", None, id="a negative pause means: do not try again"),
        pytest.param(14, 100, "Unavailable", 0.1, id="other statuses keep their pause"),
        pytest.param(5, None, "NotFound", None, id="no pause, as a rule"),
    ],
)
def test_pauses(code: int, pushback: int | None, cls: str, retry_after_s: float | None) -> None:
    error = error_of(CODE_OF_NUMBER[code], "why", pushback)
    assert (type(error).__name__, error.retry_after_s) == (cls, retry_after_s)


@pytest.mark.parametrize(
    ("trailing", "retry_after_s"),
    [
        pytest.param([("retry-pushback-ms", "40")], 0.04, id="our key"),
        pytest.param([("grpc-retry-pushback-ms", "40")], 0.04, id="gRPC's key"),
        pytest.param([("grpc-retry-pushback-ms", "9"), ("retry-pushback-ms", "40")], 0.04, id="ours wins"),
        pytest.param([("retry-pushback-ms", "soon")], None, id="not a number"),
        pytest.param([("x", "40")], None, id="another key"),
    ],
)
def test_pauses_in_trailing_metadata(trailing: list[tuple[str, str]], retry_after_s: float | None) -> None:
    metadata = grpc.aio.Metadata(*trailing)
    raw = grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), metadata, "queue is full")
    error = error_of_rpc(raw)
    assert error.retry_after_s == retry_after_s
    assert error.__cause__ is raw
    assert str(error) == "RESOURCE_EXHAUSTED: queue is full"


def test_what_asyncio_says_of_a_stream_that_ended_under_its_hands() -> None:
    raw = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "Internal error from Core"
    )
    assert type(error_of_rpc(raw)) is Unavailable


def test_an_unknown_status_is_unknown() -> None:
    assert type(error_of(grpc.StatusCode.OK, "?")) is Unknown


def test_errors_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(Overloaded("queue is full", 0.5)))
    assert (type(copy), copy.detail, copy.retry_after_s) == (Overloaded, "queue is full", 0.5)
    assert isinstance(copy, RuntimeError)
