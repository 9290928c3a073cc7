"""Other people's protocols over gRPC: right answers in the form that was asked for, and what the server tells."""

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from skylane.dtypes import DTYPES, NUMPY, DType
from skylane.server.codecs.descriptor_pool import message
from skylane.server.codecs.oip.messages import CONTENTS_OF, INFER_STREAM, ModelInferRequest, ModelStreamInferResponse
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, read_raw, write_raw
from skylane.server.codecs.tfs import tensors
from skylane.server.codecs.tfs.messages import MODEL_SERVICE, NUMBER_OF, PREDICTION_SERVICE, SignatureDefMap
from skylane.server.codecs.tfs.messages import PredictRequest as TensorFlowRequest
from support import foreign, models
from support.calls import Array, ask, features, open_channel
from support.security import section
from support.server import RunningServer, serving

if TYPE_CHECKING:
    from pathlib import Path

    from skylane.server.core.settings import Transport

Method = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, transport: "Transport") -> Iterator[RunningServer]:
    """`linear`, `mixed`, and an echo of each type under the type's name."""
    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.mixed(root)
    for dtype in DTYPES:
        models.echo(root, dtype, dtype)
    (root / "linear" / "model.toml").write_text("[versions]\nlabels = { stable = 1 }\n")
    with serving(root, transport) as running:
        yield running


@pytest.fixture
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with open_channel(server.address) as channel:
        yield channel


def values(dtype: DType, width: int = 2) -> Array:
    """Rows of awkward values of a type."""
    if dtype == "string":
        flat = np.empty(4, object)
        flat[:] = ["é", "", "x" * 300, "\0"]
    elif dtype == "bool":
        flat = np.array([True, False, False, True])
    elif NUMPY[dtype].kind == "f":
        flat = np.array([0.1, -0.0, 6e4, -1.5], NUMPY[dtype])
    else:
        limits = np.iinfo(NUMPY[dtype])
        flat = np.array([limits.min, limits.max, 0, 1], NUMPY[dtype])
    return flat.reshape(-1, width)


def output(reply: Any, name: str, dtype: DType) -> Array:
    """One output of a ModelInferResponse, raw or listed."""
    (place,) = (place for place, each in enumerate(reply.outputs) if each.name == name)
    told = reply.outputs[place]
    assert told.datatype == DATATYPE_OF[dtype]
    if reply.raw_output_contents:
        assert not told.HasField("contents")
        return read_raw(name, dtype, tuple(told.shape), reply.raw_output_contents[place])
    listed = list(getattr(told.contents, CONTENTS_OF[dtype]))
    flat: Array = np.array([each.decode() for each in listed], object) if dtype == "string" else np.array(listed)
    return flat.reshape(tuple(told.shape))


class TestInfer:
    """inference.GRPCInferenceService/ModelInfer."""

    @pytest.fixture
    def infer(self, channel: grpc.Channel) -> Method:
        return foreign.call(channel, OIP, "ModelInfer")

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_raw_tensors_of_every_type_come_back_as_they_went(self, infer: Method, dtype: DType) -> None:
        sent = values(dtype)
        request = ModelInferRequest(model_name=dtype, raw_input_contents=[write_raw(sent)])
        request.inputs.add(name="x", datatype=DATATYPE_OF[dtype], shape=sent.shape)
        for _ in range(2):  # the second time the server knows the request's form
            reply = infer(request)
            np.testing.assert_array_equal(output(reply, "y", dtype), sent)
            assert (reply.model_name, reply.model_version, reply.id) == (dtype, "1", "")

    @pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float16"])
    def test_lists_of_every_type_are_answered_by_lists(self, infer: Method, dtype: DType) -> None:
        sent = values(dtype)
        reply = infer(foreign.infer_contents(ask(dtype, x=sent), {"x": sent}))
        assert not reply.raw_output_contents
        np.testing.assert_array_equal(output(reply, "y", dtype), sent)

    def test_half_precision_travels_raw_alone(self, infer: Method) -> None:
        request = ModelInferRequest(model_name="float16")
        request.inputs.add(name="x", datatype="FP16", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
        with pytest.raises(grpc.RpcError, match="contents: FP16 must be sent in raw_input_contents"):
            infer(request)

    def test_outputs_version_and_id(self, infer: Method) -> None:
        sent = features(3)
        for id_ in ("", "a-1", str(uuid.uuid4())):
            request = foreign.infer_raw(ask("linear", request_id=id_, outputs=["score"], features=sent))
            request.model_version = "1"
            reply = infer(request)
            assert (reply.id, [each.name for each in reply.outputs]) == (id_, ["score"])
            np.testing.assert_allclose(output(reply, "score", "float32")[:, 0], sent.sum(axis=1), rtol=1e-4)

    def test_many_at_once_get_their_own(self, infer: Method) -> None:
        sent = [features(1, seed=seed) for seed in range(50)]
        futures = [infer.future(foreign.infer_raw(ask("linear", features=rows))) for rows in sent]  # type: ignore[attr-defined]
        for rows, future in zip(sent, futures, strict=True):
            np.testing.assert_allclose(
                output(future.result(), "score", "float32"), rows.sum(1, keepdims=True), rtol=1e-4
            )

    def test_no_rows(self, infer: Method) -> None:
        for request in (
            foreign.infer_raw(ask("linear", features=features(0))),
            foreign.infer_contents(ask("linear"), {"features": features(0)}),
        ):
            assert list(infer(request).outputs[0].shape) == [0]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            pytest.param(
                lambda r: r.raw_input_contents.append(b""),
                "raw_input_contents: expected one for each of the 1 inputs, received 2",
                id="more raw tensors than inputs",
            ),
            pytest.param(
                lambda r: r.inputs[0].contents.fp32_contents.append(1),
                "tensor 'features': contents: expected none beside raw_input_contents, received fp32_contents",
                id="contents beside raw",
            ),
            pytest.param(
                lambda r: setattr(r.inputs[0], "datatype", "FP8"),
                "tensor 'features': datatype: expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, "
                "INT64, FP16, FP32, FP64 and BYTES, received 'FP8'",
                id="a type of its own",
            ),
            pytest.param(
                lambda r: setattr(r, "model_version", "latest"),
                "model_version: expected 1 or more, received 'latest'",
                id="a version that is no number",
            ),
            pytest.param(
                lambda r: setattr(r.inputs[0].parameters["shared_memory_region"], "string_param", "a"),
                "input 'features': shared memory is not supported: send the data",
                id="shared memory",
            ),
            pytest.param(
                lambda r: setattr(r.outputs.add(name="label").parameters["classification"], "int64_param", 3),
                "output 'label': classification is not supported: request the output without it",
                id="classification",
            ),
            pytest.param(
                lambda r: setattr(r.parameters["timeout"], "string_param", "soon"),
                "parameters: timeout: expected microseconds from 0, as int64_param",
                id="a timeout that is no number",
            ),
        ],
    )
    def test_what_only_this_protocol_can_get_wrong(self, infer: Method, change: Method, says: str) -> None:
        request = foreign.infer_raw(ask("linear", features=features(1)))
        change(request)
        with pytest.raises(grpc.RpcError) as refused:
            infer(request)
        error: Any = refused.value
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, says)

    def test_a_list_with_a_number_beyond_its_type(self, infer: Method) -> None:
        request = ModelInferRequest(model_name="int8")
        request.inputs.add(name="x", datatype="INT8", shape=[1, 2]).contents.int_contents.extend([1, 200])
        with pytest.raises(grpc.RpcError, match="contents: expected -128 to 127 for INT8, received 1 to 200"):
            infer(request)

    def test_a_stream_answers_each_with_its_id_and_goes_on_after_a_fault(self, channel: grpc.Channel) -> None:
        requests = [foreign.infer_raw(ask("linear", request_id=str(i), features=features(1, seed=i))) for i in range(9)]
        requests[4].model_name = "lienar"
        stream: Any = channel.stream_stream(
            INFER_STREAM,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelStreamInferResponse.FromString,
        )
        replies = {reply.infer_response.id: reply for reply in stream(iter(requests))}
        assert set(replies) == {str(i) for i in range(9)}
        assert replies["4"].error_message.startswith("there is no model 'lienar'")
        for i in (0, 8):
            assert replies[str(i)].infer_response.parameters["triton_final_response"].bool_param
            scores = output(replies[str(i)].infer_response, "score", "float32")
            np.testing.assert_allclose(scores, features(1, seed=i).sum(1, keepdims=True), rtol=1e-4)


class TestOpenInference:
    """What else clients of Triton and KServe ask."""

    @pytest.fixture
    def ask_(self, channel: grpc.Channel) -> Callable[..., Any]:
        def ask_(name: str, /, **fields: Any) -> Any:
            return foreign.call(channel, OIP, name)(message(f"inference.{name}Request")(**fields))

        return ask_

    def test_the_server(self, ask_: Method) -> None:
        assert ask_("ServerLive").live
        assert ask_("ServerReady").ready
        about = ask_("ServerMetadata")
        assert about.name == "skylane"
        assert list(about.extensions) == ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]

    def test_a_model(self, ask_: Method) -> None:
        assert ask_("ModelReady", name="linear").ready
        about = ask_("ModelMetadata", name="linear")
        assert (about.name, list(about.versions), about.platform) == ("linear", ["1"], "onnxruntime_onnx")
        (given,) = about.inputs
        assert (given.name, given.datatype, list(given.shape)) == ("features", "FP32", [-1, 20])
        config = ask_("ModelConfig", name="linear").config
        assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("linear", 8192, [20])
        assert config.input[0].data_type == 11
        assert config.dynamic_batching.preferred_batch_size

    @pytest.mark.parametrize(
        ("fields", "ready"),
        [
            pytest.param({"name": "linear", "version": "1"}, True, id="a version that answers"),
            pytest.param({"name": "lienar"}, False, id="a model that is absent"),
            pytest.param({"name": "linear", "version": "999"}, False, id="a version that is absent"),
            pytest.param({"name": "lienar", "version": "1"}, False, id="a version of a model that is absent"),
        ],
    )
    def test_what_is_absent_is_not_ready(self, ask_: Method, fields: dict[str, str], ready: bool) -> None:
        assert ask_("ModelReady", **fields).ready is ready

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            pytest.param({}, "name: expected the name of a model, received nothing", id="no name"),
            pytest.param({"name": "linear", "version": "x"}, "model_version: expected 1 or more", id="not a version"),
        ],
    )
    def test_a_malformed_question_is_refused_not_answered_with_no(
        self, ask_: Method, fields: dict[str, str], says: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            ask_("ModelReady", **fields)
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith(says)

    @pytest.mark.parametrize("name", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
    def test_a_model_that_is_not_there(self, ask_: Method, name: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            ask_(name, name="lienar")
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error.details().startswith("there is no model 'lienar': did you mean 'linear'?")

    def test_the_index(self, ask_: Method) -> None:
        entries = {entry.name: (entry.version, entry.state) for entry in ask_("RepositoryIndex").models}
        assert entries["linear"] == ("1", "READY")
        assert set(entries) == {"linear", "mixed", *DTYPES}

    def test_statistics_count_what_was_asked(self, ask_: Method, channel: grpc.Channel) -> None:
        def told() -> Any:
            (found,) = ask_("ModelStatistics", name="mixed").model_stats
            return found

        before = told()
        sent = ask("mixed", numbers=np.zeros((2, 2), np.float32), strings=np.full((2, 2), "x", object))
        for _ in range(3):
            foreign.call(channel, OIP, "ModelInfer")(foreign.infer_raw(sent))
        with pytest.raises(grpc.RpcError):
            foreign.call(channel, OIP, "ModelInfer")(foreign.infer_raw(ask("mixed")))
        after = told()
        assert after.inference_count - before.inference_count == 6
        assert after.execution_count - before.execution_count == 3
        assert after.inference_stats.success.count - before.inference_stats.success.count == 3
        assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
        assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
        assert after.last_inference > 1_700_000_000_000
        assert sum(each.compute_infer.count for each in after.batch_stats) == after.execution_count
        assert {each.name for each in ask_("ModelStatistics").model_stats} == {"linear", "mixed", *DTYPES}

    @pytest.mark.parametrize("name", ["RepositoryModelLoad", "RepositoryModelUnload"])
    def test_nobody_loads_or_unloads_without_a_token_for_it(self, ask_: Method, name: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            ask_(name, model_name="linear")
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert error.details() == "load and unload are disabled: the server's --allow-admin or --tokens enable them"


def test_an_admin_unloads_and_loads_in_triton_s_and_in_kserve_s_words(tmp_path: "Path", transport: "Transport") -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("admin", "admin") + section("caller", "predict"))
    bearer = (("authorization", "Bearer admin"),)
    with serving(tmp_path / "models", transport, tokens=tokens) as server, open_channel(server.address) as channel:

        def change(verb: str, token: str = "admin", **fields: str) -> Any:
            request = message(f"inference.RepositoryModel{verb}Request")(**fields)
            metadata = (("authorization", f"Bearer {token}"),)
            return foreign.call(channel, OIP, f"RepositoryModel{verb}")(request, metadata=metadata)

        infer = foreign.call(channel, OIP, "ModelInfer")
        request = foreign.infer_raw(ask("linear", features=features(1)))
        assert infer(request, metadata=bearer).outputs
        change("Unload", model_name="linear")
        with pytest.raises(grpc.RpcError, match="there is no model 'linear'"):
            infer(request, metadata=bearer)
        assert change("Load", repository_name="linear").is_loaded
        assert infer(request, metadata=bearer).outputs
        with pytest.raises(grpc.RpcError, match="these credentials do not allow this"):
            change("Unload", "caller", model_name="linear")
        with pytest.raises(grpc.RpcError, match="has no version that can be loaded: none is there"):
            change("Load", model_name="nothing")


def test_balancers_learn_without_a_token_whether_the_server_answers_and_nothing_else(
    tmp_path: "Path", transport: "Transport"
) -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("caller", "predict"))
    with serving(tmp_path / "models", transport, tokens=tokens) as server, open_channel(server.address) as channel:

        def ask_(name: str) -> Any:
            return foreign.call(channel, OIP, name)(message(f"inference.{name}Request")())

        assert ask_("ServerLive").live
        assert ask_("ServerReady").ready
        for name in ("ServerMetadata", "ModelReady", "RepositoryIndex", "ModelStatistics", "RepositoryModelUnload"):
            with pytest.raises(grpc.RpcError) as refused:
                ask_(name)
            error: Any = refused.value
            words = "this server requires a valid bearer token (authorization: Bearer …)"
            assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, words)
        with pytest.raises(grpc.RpcError, match="requires a valid bearer token"):
            foreign.call(channel, OIP, "ModelInfer")(foreign.infer_raw(ask("linear", features=features(1))))


def test_where_the_operator_allows_it_everybody_loads_and_unloads(tmp_path: "Path", transport: "Transport") -> None:
    models.linear(tmp_path)
    models.mixed(tmp_path)
    with serving(tmp_path, transport, allow_admin=True) as server, open_channel(server.address) as channel:

        def ask_(name: str, /, **fields: Any) -> Any:
            return foreign.call(channel, OIP, name)(message(f"inference.{name}Request")(**fields))

        def seen(**fields: Any) -> list[tuple[str, str, str]]:
            return [(each.name, each.state, each.reason) for each in ask_("RepositoryIndex", **fields).models]

        triton_always_sends = {"unload_dependents": {"bool_param": False}}
        for _ in range(2):  # again is no mistake
            ask_("RepositoryModelUnload", model_name="linear", parameters=triton_always_sends)
        assert not ask_("ModelReady", name="linear").ready
        assert ask_("ServerReady").ready
        assert seen() == [("mixed", "READY", ""), ("linear", "UNAVAILABLE", "unloaded")]
        assert seen(ready=True) == [("mixed", "READY", "")]
        server.refresh()
        assert not ask_("ModelReady", name="linear").ready, "a look at the repository loads nothing that was unloaded"
        with pytest.raises(grpc.RpcError, match="parameters: a model is loaded as it is published; received 'config'"):
            ask_("RepositoryModelLoad", model_name="linear", parameters={"config": {"string_param": "{}"}})
        ask_("RepositoryModelLoad", model_name="linear")
        assert seen() == [("linear", "READY", ""), ("mixed", "READY", "")]
        for name in ("RepositoryModelLoad", "RepositoryModelUnload"):
            with pytest.raises(grpc.RpcError, match="model_name: expected the name of a model, received nothing"):
                ask_(name)


class TestTensorFlow:
    """TensorFlow Serving's clients."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("raw", [False, True], ids=["listed", "as content"])
    def test_tensors_of_every_type_come_back_as_they_went(self, channel: grpc.Channel, dtype: DType, raw: bool) -> None:
        if raw and dtype == "string":
            return  # strings have no content
        sent, request = values(dtype), TensorFlowRequest()
        request.model_spec.name = dtype
        foreign.list_elements(request.inputs["x"], dtype, sent)
        if raw:
            request.inputs["x"].CopyFrom(type(request.inputs["x"])(
                dtype=NUMBER_OF[dtype], tensor_shape=request.inputs["x"].tensor_shape, tensor_content=sent.tobytes()
            ))  # fmt: skip
        reply = foreign.call(channel, PREDICTION_SERVICE, "Predict")(request)
        np.testing.assert_array_equal(tensors.read_inputs(reply.outputs)["y"], sent)
        assert (reply.model_spec.name, reply.model_spec.version.value) == (dtype, 1)

    def test_one_element_fills_the_shape_and_a_filter_picks_outputs(self, channel: grpc.Channel) -> None:
        request = TensorFlowRequest(output_filter=["score"])
        request.model_spec.name, request.model_spec.version_label = "linear", "stable"
        tensor = request.inputs["features"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=3)
        tensor.tensor_shape.dim.add(size=20)
        tensor.float_val.append(0.5)
        reply = foreign.call(channel, PREDICTION_SERVICE, "Predict")(request)
        assert set(reply.outputs) == {"score"}
        np.testing.assert_allclose(reply.outputs["score"].float_val, [10, 10, 10])

    def test_metadata_and_status(self, channel: grpc.Channel) -> None:
        about = message("tensorflow.serving.GetModelMetadataRequest")(metadata_field=["signature_def"])
        about.model_spec.name = "linear"
        reply = foreign.call(channel, PREDICTION_SERVICE, "GetModelMetadata")(about)
        signatures = SignatureDefMap()
        assert reply.metadata["signature_def"].Unpack(signatures)
        given = signatures.signature_def["serving_default"].inputs["features"]
        assert (given.dtype, [dim.size for dim in given.tensor_shape.dim]) == (1, [-1, 20])
        state = message("tensorflow.serving.GetModelStatusRequest")()
        state.model_spec.name = "linear"
        (version,) = foreign.call(channel, MODEL_SERVICE, "GetModelStatus")(state).model_version_status
        assert (version.version, version.state) == (1, 30)
        state.model_spec.version.value = 7
        with pytest.raises(grpc.RpcError, match="version 7 of model 'linear' is not loaded"):
            foreign.call(channel, MODEL_SERVICE, "GetModelStatus")(state)
