"""A model's outputs → columns of Arrow. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec
from skylane.server.core.types import Array

_STRING = pa.string()


def fields_of(outputs: Sequence[OutputSpec], empty: Sequence[Array], prefix: str = "") -> list[pa.Field]:
    """The columns that answers become: one for each output, or one for each class or place of an output with several.

    `empty`: the outputs for no rows, whose shapes say how many places there are.
    """
    return [
        pa.field(prefix + name, _type(spec))
        for spec, array in zip(outputs, empty, strict=True)
        for name in _names(spec, array)
    ]


def columns_of(outputs: Sequence[OutputSpec], arrays: Sequence[Array]) -> list[pa.Array]:
    """Answers of some rows, in the order of `fields_of`."""
    return [
        pa.array(column, _type(spec)) for spec, array in zip(outputs, arrays, strict=True) for column in _places(array)
    ]


def _type(spec: OutputSpec) -> pa.DataType:
    return _STRING if spec.dtype == "string" else pa.from_numpy_dtype(NUMPY[spec.dtype])


def _names(spec: OutputSpec, array: Array) -> list[str]:
    """`label`; `probabilities:late` of two dimensions or more, by class where the manifest names them."""
    if array.ndim == 1:
        return [spec.name]
    places = int(np.prod(array.shape[1:], dtype=np.intp))
    if places == 1 and not spec.classes:
        return [spec.name]
    labels = spec.classes if len(spec.classes) == places else range(places)
    return [f"{spec.name}:{label}" for label in labels]


def _places(array: Array) -> Iterator[Array]:
    if array.ndim == 1:
        yield array
        return
    flat = array.reshape(len(array), -1) if len(array) else array.reshape(0, int(np.prod(array.shape[1:])))
    for place in range(flat.shape[1]):
        yield np.ascontiguousarray(flat[:, place])
