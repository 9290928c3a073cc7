"""Tensors of a ModelInferRequest → named numpy arrays, with errors that name the field. Pure."""

from typing import Any

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.server.codecs.oip.messages import CONTENTS_OF
from skylane.server.codecs.tensor_bytes import read_dtype, read_raw, read_shape, shaped
from skylane.server.core.errors import BadRequest, InputMismatch
from skylane.server.core.text import quoted
from skylane.server.core.types import Array


def read_inputs(request: Any) -> dict[str, Array]:
    """Name → array, in the order sent. Raises BadRequest or InputMismatch."""
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise BadRequest(
            f"raw_input_contents: expected one for each of the {len(request.inputs)} inputs, received {len(raws)}"
        )
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(request.inputs):
        if not tensor.name:
            raise InputMismatch(f"inputs[{place}]: expected a name, received none")
        if tensor.name in arrays:
            raise InputMismatch(f"inputs: {quoted(tensor.name)} appears twice")
        check_parameters("input", tensor)
        arrays[tensor.name] = _read(tensor, raws[place] if raws else None)
    return arrays


def check_parameters(kind: str, tensor: Any) -> None:
    """Raise BadRequest for parameters that would be ignored silently."""
    if "shared_memory_region" in tensor.parameters:
        raise BadRequest(f"{kind} {quoted(tensor.name)}: shared memory is not supported: send the data")
    if "classification" in tensor.parameters:
        raise BadRequest(
            f"{kind} {quoted(tensor.name)}: classification is not supported: request the output without it"
        )


def _read(tensor: Any, raw: bytes | None) -> Array:
    dtype, shape = read_dtype(tensor.name, tensor.datatype), read_shape(tensor.name, tensor.shape)
    filled = [field.name for field, _ in tensor.contents.ListFields()]
    if raw is None:
        return shaped(tensor.name, _read_contents(tensor, dtype, filled), shape)
    if filled:
        raise BadRequest(
            f"tensor {quoted(tensor.name)}: contents: expected none beside raw_input_contents, received {filled[0]}"
        )
    return read_raw(tensor.name, dtype, shape, raw)


def _read_contents(tensor: Any, dtype: DType, filled: list[str]) -> Array:
    """The elements, (n). Raises InputMismatch."""
    name, field = quoted(tensor.name), CONTENTS_OF.get(dtype)
    if field is None:
        raise InputMismatch(f"tensor {name}: contents: {tensor.datatype} must be sent in raw_input_contents")
    if wrong := [each for each in filled if each != field]:
        raise InputMismatch(f"tensor {name}: contents: expected {field} for {tensor.datatype}, received {wrong[0]}")
    values = getattr(tensor.contents, field)
    if dtype == "string":
        return _texts(name, values)
    elements = np.array(values, NUMPY[dtype] if dtype in ("bool", "float32", "float64", "uint64") else np.int64)
    if elements.dtype == NUMPY[dtype]:
        return elements
    limits = np.iinfo(NUMPY[dtype])
    if elements.size and not (limits.min <= elements.min() and elements.max() <= limits.max):
        raise InputMismatch(
            f"tensor {name}: contents: expected {limits.min} to {limits.max} for {tensor.datatype}, "
            f"received {elements.min()} to {elements.max()}"
        )
    return elements.astype(NUMPY[dtype])


def _texts(name: str, values: Any) -> Array:
    array = np.empty(len(values), object)
    try:
        array[:] = [text.decode() for text in values]
    except UnicodeDecodeError as error:
        raise InputMismatch(f"tensor {name}: strings: expected UTF-8, received {error.object[:20]!r}") from error
    return array
