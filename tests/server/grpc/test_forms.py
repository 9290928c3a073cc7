"""Other people's protocols: a form that was learned is read like one that was not, and learned where it pays."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fakes import RecordingSink
from skylane.dtypes import NUMPY, DType
from skylane.manifest import OutputSpec, TensorSpec
from skylane.server.codecs.oip.messages import CONTENTS_OF, ModelInferRequest
from skylane.server.codecs.oip.requests import ID_BYTES_MAX, InferDecoder
from skylane.server.codecs.request_templates import GrowingGroup, TemplatingDecoder
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, write_raw
from skylane.server.codecs.tfs.messages import VALUES_OF, PredictRequest
from skylane.server.codecs.tfs.requests import PredictDecoder
from skylane.server.core.batch_task import RequestGroup
from skylane.server.core.errors import ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface
from support.foreign import list_elements

INTERFACE: Final = Interface(
    "m",
    1,
    (TensorSpec(name="x", dtype="float32", shape=(None, 2)),),
    (),
    (OutputSpec(name="y", dtype="float32", shape=(None,)), OutputSpec(name="z", dtype="float32", shape=(None,))),
)
KINDS: Final[list[DType]] = ["float32", "float32", "float32", "float64", "int64", "bool", "string"]

MakeDecoder = Callable[[], TemplatingDecoder]


def infer(array: Array, dtype: DType, *, raw: bool, request_id: str = "", parameter: str = "", output: str = "") -> Any:
    """A ModelInferRequest."""
    request = ModelInferRequest(model_name="m", id=request_id)
    tensor = request.inputs.add(name="x", datatype=DATATYPE_OF[dtype], shape=array.shape)
    if raw:
        request.raw_input_contents.append(write_raw(array))
    else:
        values = array.ravel().tolist()
        listed = [text.encode() for text in values] if dtype == "string" else values
        getattr(tensor.contents, CONTENTS_OF[dtype]).extend(listed)
    if parameter:
        request.parameters[parameter].int64_param = 10**9
    if output:
        request.outputs.add(name=output)
    return request


def predict(array: Array, dtype: DType, *, raw: bool, output: str = "") -> Any:
    """TensorFlow Serving's PredictRequest."""
    request = PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    list_elements(tensor, dtype, array)
    if raw and dtype != "string":
        tensor.ClearField(VALUES_OF[dtype])
        tensor.tensor_content = array.tobytes()
    if output:
        request.output_filter.append(output)
    return request


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Array, DType]:
    """Mostly what the model takes."""
    dtype = draw(st.sampled_from(KINDS))
    elements: Any = {"elements": st.text(max_size=2)} if dtype == "string" else {}
    shape = (draw(st.integers(0, 2)), draw(st.sampled_from([2, 2, 1])))
    return draw(hnp.arrays(NUMPY[dtype], shape, **elements)), dtype


@st.composite
def requests(draw: st.DrawFn, kind: str) -> bytes:
    """A request, maybe damaged in one byte."""
    (array, dtype), raw = draw(arrays()), draw(st.booleans())
    output = draw(st.sampled_from(["", "", "z", "yy"]))
    if kind == "tensorflow":
        request = predict(array, dtype, raw=raw, output=output)
    else:
        request = infer(
            array,
            dtype,
            raw=raw and dtype != "float16",
            request_id=draw(st.sampled_from(["", "1", "2", "a-b", "é", "i" * (ID_BYTES_MAX + 1)])),
            parameter=draw(st.sampled_from(["", "", "triton_enable_empty_final_response"])),
            output=output,
        )
    made = bytearray(request.SerializeToString())
    if draw(st.sampled_from([False, False, True])):
        made[draw(st.integers(0, len(made) - 1))] = draw(st.integers(0, 255))
    return bytes(made)


DECODERS: Final = [
    pytest.param("open inference", lambda: InferDecoder(time.monotonic, RejectionCounter()), id="open inference"),
    pytest.param("tensorflow", lambda: PredictDecoder(RejectionCounter()), id="tensorflow"),
]


def outcomes(decoder: TemplatingDecoder, payloads: Sequence[bytes]) -> list[object]:
    """All that can be seen of requests that arrive together."""
    sink = RecordingSink()
    calls = [Call(place, sink) for place in range(len(payloads))]
    made: dict[int, object] = {}
    for asked in decoder.decode(calls, payloads, sink):
        made |= _bound(asked)
    made |= {call.handle: (type(error), str(error)) for call, error in sink.got}
    return [made[place] for place in range(len(payloads))]


def _bound(asked: RequestGroup) -> dict[int, object]:
    try:
        block, rejected = asked.bind(INTERFACE)
    except ServingError as error:
        return {call.handle: (type(error), str(error)) for call in asked.calls}
    refused: dict[int, object] = {call.handle: (type(error), str(error)) for calls, error in rejected for call in calls}
    if block is None:
        return refused
    outputs = [np.arange(block.rows, dtype=np.float32) % max(block.rows_each, 1)] * 2
    (array,), keys, replies = block.arrays(), block.keys(), block.encode(outputs)
    parts = np.split(array, len(block.calls))
    return refused | {
        call.handle: (asked.route, call.tail, _content(part), None if np.isnan(part).any() else key, reply)
        for call, part, key, reply in zip(block.calls, parts, keys, replies, strict=True)
    }


def _content(array: Array) -> bytes:
    """Its bytes, but that one NaN is as good as another: reading a list makes signalling ones quiet."""
    return np.where(np.isnan(array), np.float32("nan"), array).tobytes()


@pytest.mark.parametrize(("kind", "make"), DECODERS)
@given(data=st.data())
def test_a_decoder_that_has_learned_reads_what_a_fresh_one_reads(
    kind: str, make: MakeDecoder, data: st.DataObject
) -> None:
    known = data.draw(st.lists(requests(kind), min_size=1, max_size=6))
    learned = make()
    for _ in range(2):
        assert outcomes(learned, known) == [outcomes(make(), [payload])[0] for payload in known]


ONE, OTHER = np.array([[1, 2]], np.float32), np.array([[np.nan, -0.0]], np.float32)


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        pytest.param(
            lambda: InferDecoder(time.monotonic, RejectionCounter()),
            infer(ONE, "float32", raw=True),
            infer(OTHER, "float32", raw=True),
            id="raw numbers",
        ),
        pytest.param(
            lambda: InferDecoder(time.monotonic, RejectionCounter()),
            infer(ONE, "float32", raw=False),
            infer(OTHER, "float32", raw=False),
            id="listed numbers",
        ),
        pytest.param(
            lambda: InferDecoder(time.monotonic, RejectionCounter()),
            infer(ONE, "float32", raw=True, request_id="7"),
            infer(OTHER, "float32", raw=True, request_id="8"),
            id="ids that change",
        ),
        pytest.param(
            lambda: InferDecoder(time.monotonic, RejectionCounter()),
            infer(ONE, "float32", raw=True, parameter="triton_enable_empty_final_response"),
            infer(OTHER, "float32", raw=True, parameter="triton_enable_empty_final_response"),
            id="a parameter that means nothing here, as perf_analyzer sends",
        ),
        pytest.param(
            lambda: PredictDecoder(RejectionCounter()),
            predict(ONE, "float32", raw=True),
            predict(OTHER, "float32", raw=True),
            id="tensor_content",
        ),
        pytest.param(
            lambda: PredictDecoder(RejectionCounter()),
            predict(ONE, "float32", raw=False),
            predict(OTHER, "float32", raw=False),
            id="float_val",
        ),
    ],
)
def test_forms_that_are_recognised(make: MakeDecoder, first: Any, second: Any) -> None:
    assert recognised(make(), first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            infer(ONE, "float32", raw=True, parameter="timeout"),
            infer(OTHER, "float32", raw=True, parameter="timeout"),
            id="a time-out, which begins anew with each call",
        ),
        pytest.param(
            infer(ONE, "float32", raw=True, request_id="ab"),
            infer(OTHER, "float32", raw=True, request_id="é"),
            id="an id that may be no text",
        ),
        pytest.param(
            infer(np.array([[True]]), "bool", raw=True),
            infer(np.array([[False]]), "bool", raw=True),
            id="booleans, some of whose bytes are no value",
        ),
    ],
)
def test_forms_that_are_read_each_time(first: Any, second: Any) -> None:
    assert not recognised(InferDecoder(time.monotonic, RejectionCounter()), first, second)


def recognised(decoder: TemplatingDecoder, first: Any, second: Any) -> bool:
    """Whether the second is known from the first."""
    for request in (first, second):
        call = Call(0, RecordingSink())
        (asked,) = decoder.decode([call], [request.SerializeToString()], call.sink)
    return isinstance(asked, GrowingGroup)
