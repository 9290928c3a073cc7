"""The types of tensor elements, under their one name in Skylane and under everyone else's.

The name ("float32", "string", …) is what manifests and error messages use. It is numpy's own name, but for strings.
"""

from typing import Any, Final, Literal, cast, get_args

import numpy as np

from skylane.v1.prediction_pb2 import DataType

DType = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "float32", "float64", "string",
]  # fmt: skip

DTYPES: Final[tuple[DType, ...]] = get_args(DType)

NUMPY: Final[dict[DType, np.dtype[Any]]] = {
    name: np.dtype(object) if name == "string" else np.dtype(name).newbyteorder("<") for name in DTYPES
}
"""How elements lie in memory: little-endian as on the wire; strings are Python `str` objects."""

TO_PROTO: Final[dict[DType, DataType]] = {
    name: cast("DataType", DataType.Value(f"DATA_TYPE_{name.upper()}")) for name in DTYPES
}
FROM_PROTO: Final[dict[int, DType]] = {int(number): name for name, number in TO_PROTO.items()}


_NAME_OF: Final[dict[np.dtype[Any], DType]] = {
    dtype: name for name in DTYPES if name != "string" for dtype in (np.dtype(name), np.dtype(name).newbyteorder())
}


def dtype_of(array: np.ndarray[Any, Any]) -> DType:
    """Skylane's name for the array's type, in either byte order.

    Raises TypeError for types that no tensor has, such as complex numbers and dates.
    """
    dtype = array.dtype
    name = _NAME_OF.get(dtype)  # a tenth of the time of asking numpy for its name
    if name is not None:
        return name
    if dtype.kind in "OUST":
        return "string"
    raise TypeError(f"an array of {dtype.name} cannot be sent: expected one of {', '.join(DTYPES)}")
