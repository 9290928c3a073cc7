"""TensorProto ↔ numpy arrays, with errors that name the field. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.manifest import OutputSpec
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.repeated_outputs import Levels, ListedOutput
from skylane.server.codecs.tensor_bytes import DIMENSIONS_MAX, read_raw, read_shape, shaped
from skylane.server.codecs.tfs.messages import DTYPE_OF, NUMBER_OF, VALUES_OF, PredictResponse, TensorProto
from skylane.server.core.errors import InputMismatch
from skylane.server.core.text import listed, quoted
from skylane.server.core.types import Array


def read_inputs(tensors: Mapping[str, Any]) -> dict[str, Array]:
    """Name → array. Raises InputMismatch."""
    return {name: _read(name, tensors[name]) for name in tensors}


def plain_data(tensor: Any) -> tuple[int, DType, tuple[int, ...], bytes] | None:
    """The field of a tensor that has its elements as in memory, with type, shape and the bytes.

    None if there is no such field, or it does not have each element once.
    """
    dtype, shape = DTYPE_OF[tensor.dtype], tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_content:
        return TensorProto.TENSOR_CONTENT_FIELD_NUMBER, dtype, shape, tensor.tensor_content
    values = getattr(tensor, VALUES_OF[dtype])
    if dtype not in ("float32", "float64") or len(values) != math.prod(shape):
        return None
    return _field_of(dtype), dtype, shape, np.array(values, NUMPY[dtype]).tobytes()


def listed_output(spec: OutputSpec) -> ListedOutput:
    """An output in a map of TensorProtos, as a list: TensorFlow Serving does so, and all its clients read that."""

    def levels(shape: tuple[int, ...]) -> Levels:
        tensor = TensorProto(dtype=NUMBER_OF[spec.dtype])
        tensor.tensor_shape.SetInParent()
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        key, value = 1, 2  # the fields of a map entry
        return [
            (PredictResponse.OUTPUTS_FIELD_NUMBER, protobuf_wire.field(key, spec.name.encode())),
            (value, tensor.SerializeToString()),
        ]

    return ListedOutput(spec, levels, _field_of(spec.dtype))


def _field_of(dtype: DType) -> int:
    number: int = TensorProto.DESCRIPTOR.fields_by_name[VALUES_OF[dtype]].number
    return number


def _read(name: str, tensor: Any) -> Array:
    dtype = DTYPE_OF.get(tensor.dtype)
    if dtype is None:
        raise InputMismatch(
            f"tensor {quoted(name)}: dtype: expected the DataType of {listed(VALUES_OF)}, received {tensor.dtype}"
        )
    if tensor.tensor_shape.unknown_rank:
        raise InputMismatch(f"tensor {quoted(name)}: tensor_shape: expected sizes, received an unknown rank")
    dims = tensor.tensor_shape.dim
    if len(dims) > DIMENSIONS_MAX:
        raise InputMismatch(
            f"tensor {quoted(name)}: shape: expected at most {DIMENSIONS_MAX} sizes, received {len(dims)}"
        )
    shape = read_shape(name, [dim.size for dim in dims])
    if tensor.tensor_content:
        if dtype == "string":
            raise InputMismatch(f"tensor {quoted(name)}: tensor_content: strings must be sent in string_val")
        return read_raw(name, dtype, shape, tensor.tensor_content)
    return shaped(name, _filled(_values(name, dtype, tensor), shape), shape)


def _values(name: str, dtype: DType, tensor: Any) -> Array:
    """The elements of a list, (n). Raises InputMismatch."""
    values = list(getattr(tensor, VALUES_OF[dtype]))
    if dtype == "string":
        texts = np.empty(len(values), object)
        try:
            texts[:] = [text.decode() for text in values]
        except UnicodeDecodeError as error:
            raise InputMismatch(
                f"tensor {quoted(name)}: strings: expected UTF-8, received {error.object[:20]!r}"
            ) from error
        return texts
    listed_as = np.dtype(np.uint16) if dtype == "float16" else NUMPY[dtype]  # float16 as integers with its bits
    if values and listed_as.kind in "iu":
        limits = np.iinfo(listed_as)
        if not (limits.min <= min(values) and max(values) <= limits.max):
            raise InputMismatch(
                f"tensor {quoted(name)}: {VALUES_OF[dtype]}: expected {limits.min} to {limits.max} for {dtype}, "
                f"received {min(values)} to {max(values)}"
            )
    elements = np.array(values, listed_as)
    return elements.view(np.float16) if dtype == "float16" else elements


def _filled(elements: Array, shape: tuple[int, ...]) -> Array:
    """Repeat a single element, which stands for all."""
    size = math.prod(shape)
    return np.full(size, elements[0]) if len(elements) == 1 and 1 < size <= FILLED_MAX else elements


FILLED_MAX = 2**20
"""Largest number of elements that one may stand for: a few bytes must not become a large array."""
