"""ListedOutput: what it writes is what protobuf would, for both protocols that list elements."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.dtypes import DTYPES, NUMPY, DType
from skylane.manifest import OutputSpec
from skylane.server.codecs.oip import replies as oip
from skylane.server.codecs.oip.messages import CONTENTS_OF, ModelInferResponse
from skylane.server.codecs.tensor_bytes import DATATYPE_OF
from skylane.server.codecs.tfs import requests as tfs
from skylane.server.codecs.tfs.messages import SIGNATURE, PredictResponse
from skylane.server.core.types import Array, Interface
from support.foreign import list_elements


def batches(dtype: DType) -> st.SearchStrategy[tuple[int, int, Array]]:
    """(calls, rows of each, an output for all of them)."""
    elements: Any = {"elements": st.text(max_size=3)} if dtype == "string" else {}
    few = hnp.arrays(NUMPY[dtype], 4, **elements)  # drawn as a whole, and repeated: numbers far apart are enough

    def made(calls: int, rows: int, width: int, values: Array) -> tuple[int, int, Array]:
        return calls, rows, np.resize(values, (calls * rows, width)) if width else np.resize(values, calls * rows)

    return st.builds(made, st.integers(1, 3), st.integers(1, 3), st.integers(0, 130), few)


def two_outputs(dtype: DType, width: int | None) -> Interface:
    """The one in question, and one of a fixed shape behind it."""
    shape = (None,) if width is None else (None, None)
    spec = OutputSpec(name="y", dtype=dtype, shape=shape)
    return Interface("m", 3, (), (), (spec, OutputSpec(name="z", dtype="int64", shape=(None,))))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_tensorflow(dtype: DType, data: st.DataObject) -> None:
    calls, rows, output = data.draw(batches(dtype))
    interface = two_outputs(dtype, None if output.ndim == 1 else output.shape[1])
    counts = np.arange(calls * rows)
    found = tfs.reply_form(interface, ()).encode([output, counts], calls, rows)
    for call, reply in enumerate(found):
        mine = slice(call * rows, (call + 1) * rows)
        expected = PredictResponse()
        expected.model_spec.name, expected.model_spec.signature_name = "m", SIGNATURE
        expected.model_spec.version.value = 3
        for spec, array in zip(interface.outputs, (output[mine], counts[mine]), strict=True):
            list_elements(expected.outputs[spec.name], spec.dtype, array)
        assert same(PredictResponse.FromString(reply), expected)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float16"])
@given(data=st.data())
def test_open_inference(dtype: DType, data: st.DataObject) -> None:
    calls, rows, output = data.draw(batches(dtype))
    interface = two_outputs(dtype, None if output.ndim == 1 else output.shape[1])
    counts = np.arange(calls * rows)
    found = oip.reply_form(interface, (), raw=False).encode([output, counts], calls, rows)
    for call, reply in enumerate(found):
        mine = slice(call * rows, (call + 1) * rows)
        expected = ModelInferResponse(model_name="m", model_version="3")
        for spec, array in zip(interface.outputs, (output[mine], counts[mine]), strict=True):
            tensor = expected.outputs.add(name=spec.name, datatype=DATATYPE_OF[spec.dtype], shape=array.shape)
            tensor.contents.SetInParent()
            values = array.ravel().tolist()
            getattr(tensor.contents, CONTENTS_OF[spec.dtype]).extend(
                [text.encode() for text in values] if spec.dtype == "string" else values
            )
        assert same(ModelInferResponse.FromString(reply), expected)


def same(found: Any, expected: Any) -> bool:
    """Whether they are equal where a NaN equals itself."""
    return bool(found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True))
