"""Replies: put together from pieces, equal to what the generated code makes of the whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.dtypes import DTYPES, NUMPY, TO_PROTO, DType
from skylane.manifest import OutputSpec, TensorSpec
from skylane.server.codecs.skylane_v1.replies import CACHED, ReplyForm, reply_form, request_id_field
from skylane.server.core.errors import InputMismatch
from skylane.server.core.types import Array, Interface
from skylane.v1.prediction_pb2 import PredictResponse, Tensor

INPUTS = (TensorSpec(name="x", dtype="float32", shape=(None, 1)),)


def interface(*outputs: OutputSpec, model: str = "m", version: int = 3) -> Interface:
    return Interface(model, version, INPUTS, (), outputs)


def expected(model: Interface, names: list[str], rows: list[Array]) -> PredictResponse:
    """The reply, as the generated code makes it."""
    specs = {spec.name: spec for spec in model.outputs}
    tensors = []
    for name, array in zip(names, rows, strict=True):
        tensor = Tensor(name=name, dtype=TO_PROTO[specs[name].dtype], shape=array.shape)
        if specs[name].dtype == "string":
            tensor.strings.extend(text.encode() for text in array.ravel())
        else:
            tensor.data = array.tobytes()
        tensors.append(tensor)
    return PredictResponse(model=model.model, version=model.version, outputs=tensors)


def arrays(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...]) -> Array:
    texts: Any = st.text(max_size=3) if dtype == "string" else None
    return draw(hnp.arrays(NUMPY[dtype], shape, elements=texts))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Interface, list[str], list[Array], int, int]:
    """A model with its outputs, which are wanted, their values for a block, its calls and the rows of each."""
    calls, rows_each = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    dtypes = draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3))
    specs, values = [], []
    for place, dtype in enumerate(dtypes):
        rest = draw(st.sampled_from([(), (1,), (3,), (0,), (2, 2)]))
        told = rest if draw(st.booleans()) else (None,) * len(rest)
        specs.append(OutputSpec(name=f"output {place}", dtype=dtype, shape=(None, *told)))
        values.append(arrays(draw, dtype, (calls * rows_each, *rest)))
    names = draw(st.one_of(st.just([]), st.permutations([spec.name for spec in specs])))
    return interface(*specs), names[: draw(st.integers(0, len(names)))], values, calls, rows_each


@given(batches())
def test_a_blocks_replies_are_what_the_generated_code_makes_of_each(
    batch: tuple[Interface, list[str], list[Array], int, int],
) -> None:
    model, names, values, calls, rows_each = batch
    form = ReplyForm(model, names)
    by_name = dict(zip((spec.name for spec in model.outputs), values, strict=True))
    wanted = names or list(by_name)
    for _ in range(2):  # the pieces are made once and used again
        replies = form.encode(values, calls, rows_each)
        assert len(replies) == calls
        for call, reply in enumerate(replies):
            rows = [by_name[name][call * rows_each : (call + 1) * rows_each] for name in wanted]
            assert PredictResponse.FromString(reply) == expected(model, wanted, rows)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_output_of_each_type_is_read_as_it_was(dtype: DType) -> None:
    model = interface(OutputSpec(name="y", dtype=dtype, shape=(None, 2)))
    values = np.array([["a", "é"], ["", "0"]], object) if dtype == "string" else np.eye(2, dtype=NUMPY[dtype])
    (reply,) = ReplyForm(model, []).encode([values], 1, 2)
    assert PredictResponse.FromString(reply) == expected(model, ["y"], [values])


Y, Z = OutputSpec(name="y", dtype="float32", shape=(None, None)), OutputSpec(name="z", dtype="int64", shape=(None,))


def test_one_form_serves_blocks_of_every_size_and_width() -> None:
    model = interface(Y)
    form = ReplyForm(model, [])
    for rows, width in [(1, 2), (2, 1), (1, 2), (2, 2), (300, 70), (0, 2), (1, 0)]:
        values = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
        (reply,) = form.encode([values], 1, rows)
        assert PredictResponse.FromString(reply) == expected(model, ["y"], [values])


def test_rows_that_do_not_lie_side_by_side_are_written_in_their_order() -> None:
    model = interface(Y)
    values = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))[:, ::-1]
    first, second = ReplyForm(model, []).encode([values], 2, 2)
    assert PredictResponse.FromString(first) == expected(model, ["y"], [values[:2]])
    assert PredictResponse.FromString(second) == expected(model, ["y"], [values[2:]])


@given(request_id=st.text(max_size=20), cached=st.booleans())
def test_what_is_appended_to_a_reply_sets_its_field_and_nothing_else(request_id: str, cached: bool) -> None:
    model = interface(Y, Z)
    values: list[Array] = [np.ones((2, 1), np.float32), np.array([1, 2])]
    (reply,) = ReplyForm(model, ["z", "y"]).encode(values, 1, 2)
    wanted = expected(model, ["z", "y"], values[::-1])
    wanted.request_id, wanted.cached = request_id, cached
    assert PredictResponse.FromString(reply + CACHED * cached + request_id_field(request_id.encode())) == wanted


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(["nothing"], "outputs: 'nothing' is not known: the model has y and zeta", id="an unknown output"),
        pytest.param(
            ["y", "zeto"],
            "outputs: 'zeto' is not known: did you mean 'zeta'? the model has y and zeta",
            id="an output misspelt",
        ),
        pytest.param([""], "outputs: '' is not known: the model has y and zeta", id="an output without a name"),
    ],
)
def test_an_output_that_the_model_does_not_have(wanted: list[str], message: str) -> None:
    with pytest.raises(InputMismatch) as raised:
        reply_form(interface(Y, OutputSpec(name="zeta", dtype="int64", shape=(None,))), tuple(wanted))
    assert str(raised.value) == message


def test_a_form_is_made_once_for_each_load_of_a_model() -> None:
    first, again = interface(Y), interface(Y)
    assert reply_form(first, ()) is reply_form(first, ())
    assert reply_form(first, ()) is not reply_form(again, ())
