"""What is asked: each wrong request is refused for what it is, in every way to ask; rows repeat as they should."""

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from skylane.bench.workload.requests import WRONG, Question, Requests, Wrong, judged, rows_of
from skylane.bench.workload.wire import WAYS, Refused, Way, check_http, check_streamed
from skylane.client import Client, Model
from support.server import RunningServer, serving

MODELS = ("linear", "mixed")
"""One tensor of numbers; several columns of which some are texts."""


@pytest.fixture(scope="module")
def server(small_models: Path) -> Iterator[RunningServer]:
    with serving(small_models, http_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def schemas(server: RunningServer) -> dict[str, Model]:
    with Client(server.address) as client:
        return {name: client.model(name) for name in MODELS}


def requests_of(schema: Model, exponent: float = 0.0) -> Requests:
    rng = np.random.default_rng(7)
    return Requests(schema, rows_of(schema, rng), exponent, rng)


def outcome(server: RunningServer, way: Way, question: Question) -> StatusCode:
    """What a client sees."""
    try:
        if way.http:
            with closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)) as connection:
                connection.request("POST", way.path.format(question.model), question.body)
                answer = connection.getresponse()
                check_http(answer.status, answer.read())
        else:
            with grpc.insecure_channel(server.address) as channel:
                if way.name == "stream":
                    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(way.path)
                    check_streamed(next(stream(iter([question.body]), timeout=30)))
                else:
                    unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(way.path)
                    unary(question.body, timeout=30)
    except Refused as error:
        return error.code
    except grpc.RpcError as error:
        code: StatusCode = error.code()
        return code
    return StatusCode.OK


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_right_is_answered(server: RunningServer, schemas: dict[str, Model], name: str, way: Way) -> None:
    requests = requests_of(schemas[name])
    assert outcome(server, way, requests.usual(way)) is StatusCode.OK
    assert outcome(server, way, requests.large(way, 30)) is StatusCode.OK


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("wrong", [pytest.param(wrong, id=wrong.what) for wrong in WRONG])
def test_what_is_wrong_is_refused(
    server: RunningServer, schemas: dict[str, Model], name: str, way: Way, wrong: Wrong
) -> None:
    question = requests_of(schemas[name]).wrong(way, wrong)
    assert outcome(server, way, question) is question.expected is wrong.expected
    assert question.expected is not StatusCode.OK


def test_only_usual_requests_are_judged(schemas: dict[str, Model]) -> None:
    requests, way = requests_of(schemas["linear"]), WAYS["predict"]
    assert judged(requests.usual(way).name)
    assert not judged(requests.large(way, 3).name)
    assert not judged(requests.bad(way).name)


def test_rows_repeat_as_the_exponent_says(schemas: dict[str, Model]) -> None:
    """Of 4,000 draws by Zipf's law with exponent 1.2 the first row has about a fifth; evenly, none stands out."""
    way, (tensor,) = WAYS["predict"], schemas["linear"].tensors
    rows = {tensor.name: np.arange(40_000, dtype=np.float32).reshape(10_000, 4)}

    def most(exponent: float) -> int:
        requests = Requests(schemas["linear"], rows, exponent, np.random.default_rng(7))
        return max(Counter(requests.usual(way).body for _ in range(4000)).values())

    assert most(1.2) > 500
    assert most(0.0) < 20
