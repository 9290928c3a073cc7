"""Predict, PredictStream, health, reflection and ModelService over real sockets, the same on every transport."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from skylane.client import Client, NotFound, Prediction, Request
from skylane.v1 import models_pb2, models_pb2_grpc
from skylane.v1.prediction_pb2 import Column, DoubleList, PredictRequest, PredictStreamResponse, StringList
from support.calls import array_of, ask, features, open_channel, predict, predict_stream


@pytest.fixture
def channel(server_address: str) -> Iterator[grpc.Channel]:
    with open_channel(server_address) as channel:
        yield channel


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 300, 5000])
def test_tensors(channel: grpc.Channel, rows: int) -> None:
    x = features(rows)
    reply = predict(channel)(ask("linear", features=x))
    assert (reply.model, reply.version, reply.cached, reply.request_id) == ("linear", 1, False, "")
    assert [output.name for output in reply.outputs] == ["label", "score"]
    np.testing.assert_allclose(array_of(reply, "score")[:, 0], x.sum(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(array_of(reply, "label"), array_of(reply, "score")[:, 0] > 0)


def test_outputs_come_in_the_order_asked(channel: grpc.Channel) -> None:
    reply = predict(channel)(ask("linear", outputs=["score", "label"], features=features(2)))
    assert [output.name for output in reply.outputs] == ["score", "label"]


def test_request_id_comes_back(channel: grpc.Channel) -> None:
    assert predict(channel)(ask("linear", request_id="é-7", features=features(1))).request_id == "é-7"


def test_version_can_be_pinned(channel: grpc.Channel) -> None:
    request = ask("linear", features=features(1))
    request.version = 1
    assert predict(channel)(request).version == 1


def test_columns_with_gaps(channel: grpc.Channel) -> None:
    request = PredictRequest(
        model="mixed",
        columns=[
            Column(name="t", strings=StringList(values=["", "z"]), missing=[0]),
            Column(name="a", doubles=DoubleList(values=[1, 2])),
            Column(name="b", doubles=DoubleList(values=[0, float("nan")]), missing=[0]),
            Column(name="s", strings=StringList(values=["x", "ü"])),
        ],
    )
    reply = predict(channel)(request)
    np.testing.assert_array_equal(array_of(reply, "numbers_out"), np.array([[1, np.nan], [2, np.nan]], np.float32))
    np.testing.assert_array_equal(array_of(reply, "strings_out"), np.array([["x", ""], ["ü", "z"]], object))


def test_columns_as_tensors(channel: grpc.Channel) -> None:
    reply = predict(channel)(
        ask(
            "mixed",
            a=np.array([1, 2], np.int64),
            b=np.array([[0.5], [np.nan]]),
            s=np.array(["x", "y"], object),
            t=np.array(["", "z"], object),
        )
    )
    np.testing.assert_array_equal(array_of(reply, "numbers_out"), np.array([[1, 0.5], [2, np.nan]], np.float32))


def test_many_at_once_get_their_own_answers(channel: grpc.Channel) -> None:
    inputs = [features(1 + seed % 3, seed=seed) for seed in range(400)]
    calls = [predict(channel).future(ask("linear", features=x)) for x in inputs]
    for x, call in zip(inputs, calls, strict=True):
        np.testing.assert_allclose(array_of(call.result(), "score")[:, 0], x.sum(axis=1), rtol=1e-4, atol=1e-5)


def test_compressed_request(server_address: str) -> None:
    with grpc.insecure_channel(server_address, compression=grpc.Compression.Gzip) as channel:
        assert predict(channel)(ask("linear", features=features(50))).version == 1


class TestStream:
    """PredictStream."""

    @staticmethod
    def replies(channel: grpc.Channel, requests: list[PredictRequest]) -> dict[str, PredictStreamResponse]:
        return {reply.request_id: reply for reply in predict_stream(channel)(iter(requests), timeout=30)}

    def test_each_request_gets_its_reply(self, channel: grpc.Channel) -> None:
        inputs = {f"id-{seed}": features(1 + seed % 5, seed=seed) for seed in range(1000)}
        replies = self.replies(channel, [ask("linear", request_id=key, features=x) for key, x in inputs.items()])
        assert replies.keys() == inputs.keys()
        for key, x in inputs.items():
            response = replies[key].response
            assert response.request_id == key
            np.testing.assert_allclose(array_of(response, "score")[:, 0], x.sum(axis=1), rtol=1e-4, atol=1e-5)

    def test_the_client_goes_on_after_a_model_that_there_is_not(self, server_address: str) -> None:
        """Whose schema it asked for in vain."""
        x = features(2)
        asked: list[Request | tuple[str, Any]] = [
            ("linear", x),
            ("nope", x),
            Request(model="linear", data=x, version=99),
            ("linear", x),
        ]
        with Client(server_address) as client:
            answers = dict(client.predict_stream(asked))
        assert {place: type(answer) for place, answer in answers.items()} == {
            "0": Prediction, "1": NotFound, "2": NotFound, "3": Prediction,
        }  # fmt: skip
        assert "nope" in str(answers["1"])

    def test_a_bad_request_is_one_reply_and_the_stream_goes_on(self, channel: grpc.Channel) -> None:
        replies = self.replies(
            channel,
            [
                ask("linear", request_id="good", features=features(1)),
                ask("nobody", request_id="unknown", features=features(1)),
                ask("linear", request_id="narrow", features=features(1, 3)),
                ask("linear", request_id="good too", features=features(2)),
            ],
        )
        assert replies["good"].HasField("response")
        assert replies["good too"].HasField("response")
        assert (replies["unknown"].error.code, replies["narrow"].error.code) == (5, 3)
        assert replies["narrow"].error.message == "tensor 'features': expected shape (any, 20), received (1, 3)"

    def test_an_empty_stream_ends_well(self, channel: grpc.Channel) -> None:
        assert self.replies(channel, []) == {}


class TestSelfDescription:
    """What the server says of itself."""

    def test_health(self, channel: grpc.Channel) -> None:
        check: Any = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        for service in ("", "skylane.v1.PredictionService", "linear", "mixed"):
            assert check(health_pb2.HealthCheckRequest(service=service)).status == 1, service
        with pytest.raises(grpc.RpcError) as refused:
            check(health_pb2.HealthCheckRequest(service="nobody"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    def test_reflection_tells_the_whole_contract(self, channel: grpc.Channel) -> None:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "skylane.v1.ModelService",
            "skylane.v1.OutcomeService",
            "skylane.v1.PredictionService",
            "inference.GRPCInferenceService",
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
        }
        service = DescriptorPool(database).FindServiceByName("skylane.v1.PredictionService")
        assert [method.name for method in service.methods] == ["Predict", "PredictStream"]

    @pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
    def test_reflection_is_there_under_both_names_and_tells_of_itself(
        self, channel: grpc.Channel, package: str
    ) -> None:
        method: Any = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{package}.ServerReflection")
        (answer,) = method(iter([asked]))
        (file,) = answer.file_descriptor_response.file_descriptor_proto
        assert descriptor_pb2.FileDescriptorProto.FromString(file).package == package

    def test_models(self, channel: grpc.Channel) -> None:
        stub = models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]
        listed = stub.ListModels(models_pb2.ListModelsRequest()).models
        assert [model.name for model in listed] == ["linear", "mixed", "touchy"]
        assert listed[0].versions[0].state == models_pb2.VERSION_STATE_READY
        model = stub.GetModel(models_pb2.GetModelRequest(model="mixed")).model
        assert [(column.name, column.may_be_missing) for column in model.columns] == [
            ("a", False), ("s", False), ("b", True), ("t", True),
        ]  # fmt: skip
        assert b'"identity"' in model.manifest_json

    @pytest.mark.parametrize(
        ("model", "version", "message"),
        [
            ("nobody", None, "there is no model 'nobody': this server has linear, mixed and touchy"),
            ("mixed", 3, "version 3 of model 'mixed' is not loaded: loaded is 1"),
        ],
    )
    def test_unknown_model(self, channel: grpc.Channel, model: str, version: int | None, message: str) -> None:
        stub = models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetModel(models_pb2.GetModelRequest(model=model, version=version))
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, message)
