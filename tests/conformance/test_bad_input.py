"""Bad input gets the same status and the same words on every transport and in every protocol, and harms nobody else."""

import threading
from collections.abc import Iterator
from typing import Any, cast

import grpc
import numpy as np
import pytest

from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.codecs.tfs.messages import PREDICTION_SERVICE as TENSORFLOW
from skylane.v1.prediction_pb2 import PredictRequest
from support import foreign
from support.bad_input import CASES, INVALID, ONE
from support.calls import PREDICT, ask, open_channel, predict, raw

WORDS = {
    "oip": {"model: ": "model_name: ", "version: ": "model_version: ", "request_id: ": "id: "},
    "tensorflow": {
        "model: ": "model_spec: name: ",
        "version: ": "model_spec: version: ",
        "outputs: a name": "output_filter: a name",
    },
}
"""Where a protocol has another name for a field, the words name that."""


@pytest.fixture
def channel(server_address: str) -> Iterator[grpc.Channel]:
    with open_channel(server_address) as channel:
        yield channel


@pytest.mark.parametrize(("request_", "code", "message"), CASES)
def test_bad_request(channel: grpc.Channel, request_: PredictRequest, code: grpc.StatusCode, message: str) -> None:
    for _ in range(2):  # the second time the server may know the request's form
        with pytest.raises(grpc.RpcError) as refused:
            predict(channel)(request_)
        assert (refused.value.code(), refused.value.details()) == (code, message)


def _asked(protocol: str, request: PredictRequest) -> Any | None:
    """The same mistake in another protocol's message; None if it cannot be made there."""
    if request.columns or any(not tensor.dtype for tensor in request.tensors):
        return None
    if protocol == "oip raw":
        return None if request.label else foreign.infer_raw(request)
    if any(min(tensor.shape, default=0) < 0 for tensor in request.tensors):
        return None
    try:
        arrays = foreign.arrays_of(request)
    except ValueError:  # bytes, shape or text that fit no array: only raw bytes can be so wrong
        return None
    if protocol == "oip":
        return None if request.label else foreign.infer_contents(request, arrays)
    return None if request.request_id else foreign.tensorflow(request, arrays)


def _foreign_cases() -> Iterator[Any]:
    for protocol in ("oip raw", "oip", "tensorflow"):
        for case in CASES:
            request, code, message = cast("tuple[PredictRequest, grpc.StatusCode, str]", case.values)
            asked = _asked(protocol, request)
            if asked is None:
                continue
            for ours, theirs in WORDS[protocol.split()[0]].items():
                message = theirs + message.removeprefix(ours) if message.startswith(ours) else message
            yield pytest.param(protocol, asked, code, message, id=f"{protocol}: {case.id}")


@pytest.mark.parametrize(("protocol", "asked", "code", "message"), list(_foreign_cases()))
def test_bad_request_of_another_protocol(
    channel: grpc.Channel, protocol: str, asked: Any, code: grpc.StatusCode, message: str
) -> None:
    service, name = (TENSORFLOW, "Predict") if protocol == "tensorflow" else (OIP, "ModelInfer")
    for _ in range(2):  # the second time the server may know the request's form
        with pytest.raises(grpc.RpcError) as refused:
            foreign.call(channel, service, name)(asked)
        assert (refused.value.code(), refused.value.details()) == (code, message)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff\xff\xff", id="bytes that are no message"),
        pytest.param(ask("linear", features=ONE).SerializeToString()[:-10], id="a message cut short"),
        pytest.param(b"\x0a\x02\xff\xfe", id="a model name that is not UTF-8"),
    ],
)
def test_unreadable(channel: grpc.Channel, payload: bytes) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        raw(channel, PREDICT)(payload)
    assert refused.value.code() is INVALID
    assert str(refused.value.details()).startswith("the message is not a skylane.v1.PredictRequest: ")


def test_model_that_fails_on_a_row_fails_that_request_alone(channel: grpc.Channel) -> None:
    """Sent together, so that they share a batch."""
    texts = ["1", "2.5", "not a number", "3", "neither", "4"]
    calls = [predict(channel).future(ask("touchy", text=np.array([[text]], object))) for text in texts]
    codes = [call.code() for call in calls]
    assert codes == [grpc.StatusCode.INTERNAL if "n" in text else grpc.StatusCode.OK for text in texts]


def test_unknown_method(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        raw(channel, "/skylane.v1.PredictionService/Guess")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "there is no method '/skylane.v1.PredictionService/Guess'"


def test_a_stream_to_an_unknown_method_is_refused_before_it_says_anything(channel: grpc.Channel) -> None:
    never_sent = threading.Event()

    def requests() -> Iterator[bytes]:
        never_sent.wait(30)
        yield from ()

    method = channel.stream_stream(
        "/skylane.v1.PredictionService/Guess", request_serializer=bytes, response_deserializer=bytes
    )
    call = method(requests())
    with pytest.raises(grpc.RpcError) as refused:
        next(call)
    never_sent.set()
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
