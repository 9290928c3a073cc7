"""RequestDecoder: a form that was learned is read like one that was not. Templates are fast, never a second opinion."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fakes import RecordingSink
from skylane.dtypes import NUMPY, TO_PROTO, DType
from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.request_templates import ALIKE_MAX, TEMPLATES_MAX, Template, TemplateAsk
from skylane.server.codecs.skylane_v1.records import RECORD_BYTES_MAX
from skylane.server.codecs.skylane_v1.requests import REQUEST_ID_BYTES_MAX, MessageAsk, RequestDecoder
from skylane.server.core.batch_task import RequestGroup
from skylane.server.core.errors import ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call, Interface, Route
from skylane.v1.prediction_pb2 import Column, DoubleList, Int64List, PredictRequest, PredictResponse, StringList, Tensor
from support.calls import Array, ask, tensor

OUTPUTS = (OutputSpec(name="y", dtype="float32", shape=(None, 1)), OutputSpec(name="z", dtype="int64", shape=(None,)))


def only(name: str, dtype: DType, width: int | None = 2) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=(None, width))


INTERFACES = [
    Interface("floats", 1, (only("x", "float32"),), (), OUTPUTS),
    Interface("any width", 1, (only("x", "int64", None),), (), OUTPUTS),
    Interface("strings", 1, (only("x", "string"),), (), OUTPUTS),
    Interface("two", 1, (only("x", "float32"), only("w", "int64")), (), OUTPUTS),
    Interface(
        "one column",
        1,
        (only("t", "float32", 1),),
        (ColumnSpec(name="x", dtype="float32", tensor="t", index=0),),
        OUTPUTS,
    ),
    Interface(
        "one whole column",
        1,
        (only("t", "int8", 1),),
        (ColumnSpec(name="x", dtype="int8", tensor="t", index=0, missing=-1.0),),
        OUTPUTS,
    ),
    Interface(
        "record",
        1,
        (only("numbers", "float32", 3), only("texts", "string", 1), only("counts", "int64", 1)),
        (
            ColumnSpec(name="x", dtype="float32", tensor="numbers", index=2),
            ColumnSpec(name="s", dtype="string", tensor="texts", index=0),
            ColumnSpec(name="w", dtype="float32", tensor="numbers", index=0, missing="NaN"),
            ColumnSpec(name="v", dtype="float32", tensor="numbers", index=1),
            ColumnSpec(name="n", dtype="int64", tensor="counts", index=0),
        ),
        OUTPUTS,
    ),
    Interface(
        "namesakes",
        1,
        (only("x", "float32", 2),),
        (
            ColumnSpec(name="w", dtype="float32", tensor="x", index=0),
            ColumnSpec(name="x", dtype="float32", tensor="x", index=1, missing="NaN"),
        ),
        OUTPUTS,
    ),
    Interface(
        "nothing odd",
        1,
        (TensorSpec(name="x", dtype="float32", shape=(None, 2), no_nan=(0, 1), no_inf=(0, 1)),),
        (),
        OUTPUTS,
    ),
    Interface(
        "gaps here, infinities there",
        1,
        (TensorSpec(name="x", dtype="float64", shape=(None, 2), no_nan=(1,), no_inf=(0,)),),
        (),
        OUTPUTS,
    ),
    Interface(
        "plain record",
        1,
        (only("numbers", "float64", 2), only("texts", "string", 1)),
        (
            ColumnSpec(name="s", dtype="string", tensor="texts", index=0, missing=""),
            ColumnSpec(name="w", dtype="float64", tensor="numbers", index=1, missing="NaN"),
            ColumnSpec(name="x", dtype="float64", tensor="numbers", index=0),
        ),
        OUTPUTS,
    ),
]
"""Each of them may answer any request: what fits one is wrong for another."""


@dataclass(frozen=True)
class Outcome:
    """All that can be seen of one request when this model answers."""

    refused: str = ""
    route: Route | None = None
    tail: bytes = b""
    rows: int = 0
    arrays: tuple[object, ...] = ()
    key: object = None
    reply: bytes = b""


def outcomes(decoder: RequestDecoder, interface: Interface, payloads: Sequence[bytes]) -> list[Outcome]:
    """What this decoder makes of payloads that arrive together."""
    sink = RecordingSink()
    calls = [Call(place, sink) for place in range(len(payloads))]
    made: dict[int, Outcome] = {}
    for asked in decoder.decode(calls, payloads, sink):
        made |= _bound(asked, interface)
    made |= {call.handle: Outcome(refused=f"{type(error).__name__}: {error!s}") for call, error in sink.got}
    assert len(sink.got) == len({call for call, _ in sink.got}), "refused twice"
    return [made[place] for place in range(len(payloads))]


def _bound(asked: RequestGroup, interface: Interface) -> dict[int, Outcome]:
    try:
        task, rejected = asked.bind(interface)
    except ServingError as error:
        return {call.handle: Outcome(refused=f"{type(error).__name__}: {error}") for call in asked.calls}
    refused = {
        call.handle: Outcome(refused=f"{type(error).__name__}: {error}") for calls, error in rejected for call in calls
    }
    assert len(refused) == sum(len(calls) for calls, _ in rejected), "refused twice"
    if task is None:
        return refused
    assert [call for call in asked.calls if call.handle not in refused] == task.calls
    rows, count = task.rows_each, len(task.calls)
    outputs: list[Array] = [
        np.tile(np.arange(rows, dtype=np.float32).reshape(-1, 1), (count, 1)),
        np.tile(np.arange(rows), count),
    ]
    arrays, keys, replies = task.arrays(), task.keys(), task.encode(outputs)
    assert [len(array) for array in arrays] == [rows * count] * len(interface.tensors)
    return refused | {
        call.handle: Outcome(
            route=asked.route,
            tail=call.tail,
            rows=rows,
            arrays=tuple(_content(array[place * rows : (place + 1) * rows]) for array in arrays),
            key=keys[place],
            reply=replies[place],
        )
        for place, call in enumerate(task.calls)
    }


def _content(array: Array) -> tuple[object, ...]:
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


# --- The differential law --------------------------------------------------------------------------------------------


@st.composite
def tensors(draw: st.DrawFn, names: tuple[str, ...], shapes: st.SearchStrategy[tuple[int, ...]]) -> Tensor:
    kinds: list[DType] = ["float32", "float32", "int64", "float64", "int8", "string", "bool"]
    dtype = draw(st.sampled_from(kinds))
    elements = st.text(max_size=2) if dtype == "string" else None
    array = draw(hnp.arrays(NUMPY[dtype], draw(shapes), elements=elements))
    return tensor(draw(st.sampled_from(names)), array)


usual_shapes = st.tuples(st.integers(0, 2), st.sampled_from([2, 2, 1]))
odd_tensors = tensors(("x", "w", "t", ""), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=2))
columns = st.builds(
    Column,
    name=st.sampled_from(["x", "x", "w"]),
    doubles=st.none() | st.builds(DoubleList, values=st.lists(st.floats(), max_size=2)),
    missing=st.lists(st.integers(0, 2), max_size=1),
) | st.builds(
    Column,
    name=st.just("x"),
    ints=st.builds(Int64List, values=st.lists(st.integers(-200, 200), max_size=2)),
)


@st.composite
def records(draw: st.DrawFn) -> list[Tensor]:
    """The columns of a data frame, or the tensors that they go into, mostly of the types that the model takes."""
    rows = draw(st.integers(0, 3))
    if draw(st.booleans()):
        names: list[tuple[str, DType]] = [("w", "float64"), ("x", "float32")]
        names += [("s", "string")] if draw(st.sampled_from([True, True, False])) else []
        if draw(st.booleans()):
            names += [("v", draw(st.sampled_from(["int8", "uint64", "float16"]))), ("n", "int64")]
        shapes = {name: draw(st.sampled_from([(rows,), (rows, 1)])) for name, _ in names}
    else:
        names, shapes = [("numbers", "float64"), ("texts", "string")], {"numbers": (rows, 2), "texts": (rows, 1)}
    made = []
    for name, usual in draw(st.permutations(names)):
        dtype = draw(st.sampled_from([usual] * 8 + ["int64", "bool"]))
        elements = st.text(max_size=2) if dtype == "string" else None
        made.append(tensor(name, draw(hnp.arrays(NUMPY[dtype], shapes[name], elements=elements))))
    return made


@st.composite
def forms(draw: st.DrawFn) -> PredictRequest:
    """Mostly one tensor and nothing odd; a few are odd in any part."""
    request = PredictRequest(model="m", outputs=draw(st.sampled_from([[], [], ["y"], ["z", "y"], ["yy"]])))
    which = draw(st.sampled_from(["", "version", "label"]))
    if which == "version":
        request.version = 3
    elif which == "label":
        request.label = "stable"
    request.request_id = draw(st.sampled_from(["", "", "id", "é"]))
    kind = draw(st.sampled_from(["one tensor", "one tensor", "record", "record", "odd"]))
    if kind == "one tensor":
        request.tensors.append(draw(tensors(("x",), usual_shapes)))
        return request
    if kind == "record":
        request.tensors.extend(draw(records()))
        return request
    request.model = draw(st.sampled_from(["m", ""]))
    request.version = draw(st.sampled_from([1, 0]))
    request.tensors.extend(draw(st.lists(odd_tensors, max_size=2)))
    request.columns.extend(draw(st.one_of(st.just([]), st.lists(columns, max_size=2))))
    request.outputs.extend(draw(st.sampled_from([[], ["y"]])))
    request.request_id = draw(st.sampled_from(["", "id", "é" * 128, "é" * 129]))
    return request


@st.composite
def payloads(draw: st.DrawFn) -> list[list[bytes]]:
    """Lists that arrive one after the other: few forms, each many times with other numbers, some of them damaged."""
    known = draw(st.lists(forms(), min_size=1, max_size=4))

    def payload() -> bytes:
        request = PredictRequest()
        request.CopyFrom(draw(st.sampled_from(known)))
        if request.request_id == "id":
            request.request_id = draw(st.sampled_from(["id", "7b"]))
        for each in request.tensors:
            if each.data and draw(st.booleans()):
                each.data = draw(st.binary(min_size=len(each.data), max_size=len(each.data)))
            for place, text in enumerate(each.strings):
                if draw(st.booleans()):
                    each.strings[place] = draw(st.binary(min_size=len(text), max_size=len(text)))
        made = bytearray(request.SerializeToString())
        match draw(st.sampled_from(["", "", "", "", "flip", "cut", "twice", "more"])):
            case "flip" if made:
                made[draw(st.integers(0, len(made) - 1))] = draw(st.integers(0, 255))
            case "cut":
                del made[draw(st.integers(0, len(made))) :]
            case "twice":
                made *= 2
            case "more":
                made += draw(st.binary(max_size=4))
        return bytes(made)

    return [[payload() for _ in range(draw(st.integers(1, 5)))] for _ in range(draw(st.integers(1, 4)))]


GROUP = protobuf_wire.varint(20 << 3 | 3) + protobuf_wire.varint(20 << 3 | 4)
"""A field of a kind that no message of ours has."""


def with_twice(data: bytes, between: bytes, again: bytes) -> bytes:
    """A tensor whose data appears twice: the last one counts."""
    head = Tensor(name="x", dtype=TO_PROTO["float32"], shape=[1, 2]).SerializeToString()
    body = (
        head
        + protobuf_wire.field(Tensor.DATA_FIELD_NUMBER, data)
        + between
        + protobuf_wire.field(Tensor.DATA_FIELD_NUMBER, again)
    )
    return PredictRequest(model="m").SerializeToString() + protobuf_wire.field(
        PredictRequest.TENSORS_FIELD_NUMBER, body
    )


def column(*values: float) -> bytes:
    return ask("m", x=np.array(values, np.float64)).SerializeToString()


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.model)
@given(arriving=payloads())
@settings(max_examples=150)
@example(arriving=[[with_twice(bytes(8), GROUP, bytes(8))], [with_twice(b"\x01" * 8, GROUP, bytes(8))]])
@example(arriving=[[with_twice(bytes(8), b"", bytes(8))], [with_twice(b"\x01" * 8, b"", bytes(8))]])
@example(arriving=[[column(1.0), column(2.0)], [column(np.nan), column(3.0), column(1e300)], [column(0.5)]])
@example(arriving=[[column(1.0)], [column(np.nan)], [column(300.0), column(0.5)]])
@example(arriving=[[ask("m", outputs=["yy"], x=np.full((1, 2), np.inf, np.float32)).SerializeToString()]])
def test_a_decoder_that_has_learned_reads_what_a_fresh_one_reads(
    interface: Interface, arriving: list[list[bytes]]
) -> None:
    learned = RequestDecoder(RejectionCounter())
    for together in [*arriving, *arriving]:
        alone = [outcomes(RequestDecoder(RejectionCounter()), interface, [payload])[0] for payload in together]
        assert outcomes(learned, interface, together) == alone
    calls = [Call(place, RecordingSink()) for place in range(len(arriving[0]))]
    again = learned.decode(calls, arriving[0], RecordingSink())
    event(f"{sum(len(asked.calls) for asked in again if not isinstance(asked, MessageAsk))} read by templates")


# --- What is learned, and what bounds it -----------------------------------------------------------------------------


def decoded(decoder: RequestDecoder, *requests: PredictRequest) -> list[RequestGroup]:
    sink = RecordingSink()
    calls = [Call(place, sink) for place in range(len(requests))]
    return decoder.decode(calls, [request.SerializeToString() for request in requests], sink)


def rows(count: int, model: str = "m", value: float = 1.0) -> PredictRequest:
    return ask(model, x=np.full((count, 1), value, np.float32))


def living_templates() -> int:
    return sum(isinstance(each, Template) for each in gc.get_objects())


def test_requests_of_one_form_that_arrive_together_are_one_ask_from_the_second_on() -> None:
    decoder = RequestDecoder(RejectionCounter())
    asks = decoded(decoder, rows(1, value=1.0), rows(1, value=2.0), rows(1, value=3.0))
    assert [[call.handle for call in each.calls] for each in asks] == [[0], [1, 2]]
    (again,) = decoded(decoder, rows(1, value=4.0), rows(1, value=5.0))
    assert len(again.calls) == 2


def test_ids_that_change_are_no_part_of_a_form() -> None:
    decoder = RequestDecoder(RejectionCounter())
    requests = [ask("m", f"id-{place}", x=np.full((1, 2), place, np.float32)) for place in range(5)]
    first, others = decoded(decoder, *requests)
    assert (len(first.calls), len(others.calls)) == (1, 4)
    assert [PredictResponse.FromString(call.tail).request_id for call in others.calls] == [
        f"id-{i}" for i in range(1, 5)
    ]


def test_forms_that_arrive_mixed_are_parted() -> None:
    decoder = RequestDecoder(RejectionCounter())
    decoded(decoder, rows(1), rows(2), rows(1, "other"))
    asks = decoded(decoder, rows(1), rows(2), rows(1, "other"), rows(2), rows(1))
    assert [[call.handle for call in each.calls] for each in asks] == [[0, 4], [1, 3], [2]]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ask("m", "id", x=np.zeros((1, 2)), y=np.zeros((1, 2))), id="it has two tensors and an id"),
        pytest.param(ask("m", "é", x=np.zeros((1, 2))), id="it has an id that another's may be no text instead of"),
        pytest.param(ask("m", x=np.zeros((0, 2)), y=np.zeros((0, 2))), id="it has no rows"),
        pytest.param(ask("m", x=np.zeros((1, 400)), y=np.zeros((1, 400))), id="it has two tensors and is long"),
        pytest.param(ask("m", x=np.array([[True, False]])), id="its tensor has booleans, and not every byte is one"),
        pytest.param(PredictRequest(model="m", columns=[Column(name="x", strings=StringList())]), id="it has columns"),
        pytest.param(ask("m" * RECORD_BYTES_MAX, x=np.zeros((1, 2))), id="too much stands around its numbers"),
        pytest.param(PredictRequest(model="m"), id="it has no inputs"),
    ],
)
def test_a_form_is_not_learned_if(request_: PredictRequest) -> None:
    decoder = RequestDecoder(RejectionCounter())
    decoded(decoder, request_)
    (asked,) = decoded(decoder, request_)
    assert isinstance(asked, MessageAsk)


def test_of_forms_that_are_equally_long_only_the_last_few_are_remembered() -> None:
    gc.collect()
    before, decoder = living_templates(), RequestDecoder(RejectionCounter())
    models = [f"m{place:02}" for place in range(ALIKE_MAX + 3)]
    decoded(decoder, *(rows(1, model) for model in models))
    known = [
        asked.route.model for asked in decoded(decoder, *(rows(1, m) for m in models[3:])) if type(asked) is TemplateAsk
    ]
    assert known == models[3:]
    assert living_templates() - before == ALIKE_MAX
    assert not isinstance(decoded(decoder, rows(1, models[0]))[0], TemplateAsk)


def test_forms_without_end_are_remembered_within_the_bound() -> None:
    gc.collect()
    before, decoder, most = living_templates(), RequestDecoder(RejectionCounter()), 0
    for count in range(TEMPLATES_MAX + 100):
        numbers = Tensor(name="x", dtype=TO_PROTO["int8"], shape=[count], data=bytes(count))
        decoded(decoder, PredictRequest(model="m", tensors=[numbers]))
        if count % 500 == 99:
            most = max(most, living_templates() - before)
    assert 0 < most <= TEMPLATES_MAX
    assert living_templates() - before <= 200, "beyond the bound all were forgotten"
    (asked,) = decoded(decoder, rows(1))
    assert not isinstance(asked, TemplateAsk)


def test_a_new_version_that_takes_other_inputs_is_met_by_an_old_form_as_by_a_new_one() -> None:
    decoder, (floats, _, strings, *_) = RequestDecoder(RejectionCounter()), INTERFACES
    request = ask("m", x=np.zeros((1, 2), np.float32))
    for interface in (floats, strings, floats):
        first, second = (outcomes(decoder, interface, [request.SerializeToString()])[0] for _ in range(2))
        assert first == second
        assert bool(first.refused) == (interface is strings)


# --- What is refused at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        pytest.param(b"", "model: expected the name of a model, received nothing", id="nothing at all"),
        pytest.param(b"\xff", "the message is not a skylane.v1.PredictRequest: ", id="no message"),
        pytest.param(
            PredictRequest(model="m", version=0).SerializeToString(),
            "version: expected 1 or more, received 0",
            id="version 0",
        ),
        pytest.param(
            PredictRequest(model="m", version=-1).SerializeToString(),
            "version: expected 1 or more, received -1",
            id="a version below all",
        ),
        pytest.param(
            PredictRequest(model="m", tensors=[Tensor()], columns=[Column()]).SerializeToString(),
            "inputs: expected tensors or columns, received both",
            id="tensors and columns",
        ),
        pytest.param(
            PredictRequest(model="m", outputs=["y", "y"]).SerializeToString(),
            "outputs: a name appears twice",
            id="an output twice",
        ),
        pytest.param(
            PredictRequest(model="m", request_id="é" * 129).SerializeToString(),
            "request_id: expected at most 256 bytes",
            id="a long request id",
        ),
    ],
)
def test_a_request_that_cannot_be_read(payload: bytes, message: str) -> None:
    sink = RecordingSink()
    good = ask("m", x=np.zeros((1, 2), np.float32)).SerializeToString()
    calls = [Call(place, sink) for place in range(3)]
    asks = RequestDecoder(RejectionCounter()).decode(calls, [good, payload, good], sink)
    ((refused, error),) = sink.got
    assert refused is calls[1]
    assert str(error).startswith(message)
    assert [call for asked in asks for call in asked.calls] == [calls[0], calls[2]], "its neighbours are read"


def test_a_request_id_of_the_longest_kind_comes_back() -> None:
    name = "é" * (REQUEST_ID_BYTES_MAX // 2)
    (asked,) = decoded(RequestDecoder(RejectionCounter()), ask("m", name, x=np.zeros((1, 2))))
    assert asked.calls[0].tail.endswith(name.encode())


@pytest.mark.parametrize(
    ("request_", "route"),
    [
        pytest.param(PredictRequest(model="m"), Route("m"), id="a model"),
        pytest.param(PredictRequest(model="m", version=7), Route("m", 7), id="a version"),
        pytest.param(PredictRequest(model="m", label="stable"), Route("m", None, "stable"), id="a label"),
        pytest.param(PredictRequest(model="m", label=""), Route("m", None, ""), id="a label without letters"),
    ],
)
def test_route(request_: PredictRequest, route: Route) -> None:
    (asked,) = decoded(RequestDecoder(RejectionCounter()), request_)
    assert asked.route == route
