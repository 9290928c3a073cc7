"""The caller's data → PredictRequest. Pure.

Columns are sent as raw tensors under their own names, because typed lists cost the server an object for each value.
Only missing values that an array cannot represent, in strings, integers and booleans, need typed columns; then all
columns are sent as such, because a request has either tensors or columns.
"""

import difflib
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from skylane.client.columns import Array, Values, retype
from skylane.client.input_forms import read_array, read_columns
from skylane.client.schema import Model, TensorSpec
from skylane.dtypes import NUMPY, TO_PROTO, dtype_of
from skylane.v1 import prediction_pb2 as pb

NAMES_MAX: Final = 20
"""Largest number of column or model names in a message."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prediction request; `data` takes the forms that `Client.predict` takes."""

    model: str
    data: Any
    version: int | None = None
    label: str | None = None
    outputs: Sequence[str] = ()
    request_id: str = ""

    def __post_init__(self) -> None:
        check_choice(self.model, self.version, self.label)
        if self.version is not None and self.label is not None:
            raise ValueError("version and label exclude each other: give one of them")
        if isinstance(self.outputs, str):
            raise TypeError(f"outputs is a list of names: write ({self.outputs!r},)")


def some_of(names: Sequence[str]) -> str:
    """Names for a message, at most as many as fit."""
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return (", ".join(names[:NAMES_MAX]) or "none") + more


def check_choice(model: Any, version: Any, label: Any) -> None:
    """Raise TypeError naming the argument of the wrong type."""
    if not isinstance(model, str):
        raise TypeError(f"model is {model!r}: expected the name of a model as text")
    if version is not None and (isinstance(version, bool) or not isinstance(version, numbers.Integral)):
        raise TypeError(f"version is {version!r}: expected a whole number, such as 1")
    if label is not None and not isinstance(label, str):
        raise TypeError(f"label is {label!r}: expected text, such as 'stable'")


@dataclass(frozen=True, eq=False)
class Inputs:
    """A request's data after reading; it may still need the model's schema."""

    values: tuple[Values, ...]
    is_array: bool
    """True for a single array, which is sent under the name of the model's only tensor."""

    @property
    def need_schema(self) -> bool:
        """Whether the model's schema is needed to send this.

        It is for tensors, whose type must be the model's, and for columns without values, whose type is unknown.
        """
        return self.is_array or any(each.untyped or each.array.ndim > 1 for each in self.values)


def read(data: Any) -> Inputs:
    """Read the caller's data.

    Raises TypeError for a form or a type that cannot be sent, and ValueError for columns that do not fit together.
    """
    array = read_array(data)
    if array is not None:
        return Inputs((array,), is_array=True)
    values = read_columns(data)
    rows = {each.rows for each in values}
    if len(rows) != 1:
        by_rows = "; ".join(
            f"{', '.join(repr(each.name) for each in values if each.rows == count)}: {count}" for count in sorted(rows)
        )
        raise ValueError(f"columns differ in length (rows): {by_rows}" if rows else "there are no columns")
    return Inputs(values, is_array=False)


def without_inputs(request: Request) -> pb.PredictRequest:
    """The message without its inputs."""
    message = pb.PredictRequest(model=request.model, outputs=request.outputs, request_id=request.request_id)
    if request.version is not None:
        message.version = request.version
    if request.label is not None:
        message.label = request.label
    return message


def encode(inputs: Inputs, request: Request, model: Model | None) -> pb.PredictRequest:
    """The message. `model` is needed only if `inputs.need_schema`.

    Raises TypeError and ValueError if the data cannot be converted to what the model takes.
    """
    message = without_inputs(request)
    values = inputs.values
    if model is not None:
        reason = why_no_columns(inputs, model)
        if reason:
            raise ValueError(reason)
        values = (_as_only_tensor(values[0], model),) if inputs.is_array else _typed(values, model)
    has_gaps = any(each.missing for each in values)
    for each in values:
        try:
            if has_gaps:
                message.columns.append(_column(each))
            else:
                message.tensors.append(_tensor(each))
        except UnicodeEncodeError as error:
            raise ValueError(f"{each.name!r} holds text that is not Unicode: {error}") from error
    return message


def why_no_columns(inputs: Inputs, model: Model) -> str | None:
    """Why columns by name do not fit the model, if it has only tensors and none has such a name."""
    if (
        model.columns
        or inputs.is_array
        or {each.name for each in inputs.values} & {each.name for each in model.tensors}
    ):
        return None
    tensors = ", ".join(f"{each.name!r} {each.dtype} {list(each.shape)}" for each in model.tensors)
    wide = [each.name for each in inputs.values if each.array.ndim > 1]
    if wide:
        close = difflib.get_close_matches(wide[0], [each.name for each in model.tensors], n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"{model.name} takes {tensors}, and has no tensor {wide[0]!r}{meant}"
    advice = "send frame.to_numpy()" if len(model.tensors) == 1 else "send a dict of tensor name → array"
    count = f"the data has {len(inputs.values)} column{'s' * (len(inputs.values) > 1)}"
    return f"{model.name} takes no columns by name, but {tensors}; {count}: {advice}"


def why_extra_columns(inputs: Inputs, model: Model) -> str | None:
    """Why data with all columns of the model and others is refused. None if one is absent: it may be misspelt."""
    names, columns = {each.name for each in inputs.values}, {column.name for column in model.columns}
    extra = [each.name for each in inputs.values if each.name not in columns]
    if not extra or not columns or not columns <= names:
        return None
    return (
        f"the data has columns that {model.name} does not take: {some_of(list(map(repr, extra)))}. Leave them out, "
        f"as in frame[[column.name for column in client.model({model.name!r}).columns]]; scikit-learn's "
        "ColumnTransformer ignores such columns, and with them the misspelt name of a column that may be missing"
    )


def _typed(values: tuple[Values, ...], model: Model) -> tuple[Values, ...]:
    """Tensors in the model's types, and columns without values as missing values of these types.

    Names that the model does not have are left to the server, whose message lists the existing ones.
    """
    columns = {column.name: column.dtype for column in model.columns}
    tensors = {tensor.name: tensor for tensor in model.tensors}
    typed = []
    for each in values:
        if each.untyped:
            each = retype(each, columns.get(each.name, "float64"))
        elif each.array.ndim > 1 and each.name in tensors:
            each = _as_tensor(each, tensors[each.name])
        typed.append(each)
    return tuple(typed)


def _as_only_tensor(values: Values, model: Model) -> Values:
    """The array under the name and in the dtype of the model's only tensor."""
    if len(model.tensors) != 1:
        names = ", ".join(f"{tensor.name!r} {tensor.dtype}" for tensor in model.tensors)
        raise ValueError(
            f"{model.name} version {model.version} takes {len(model.tensors)} tensors ({names}): one array is not "
            "enough, send a dict of tensor name → array, or its columns by name"
        )
    return _as_tensor(values, model.tensors[0])


def _as_tensor(values: Values, tensor: TensorSpec) -> Values:
    if values.missing:
        raise ValueError(f"tensor {tensor.name!r}: an array of {tensor.dtype} cannot hold gaps; send columns by name")
    return Values(tensor.name, _cast(values.array, tensor))


def _cast(array: Array, tensor: TensorSpec) -> Array:
    """The array in the tensor's dtype, if no value changes except by rounding to fewer digits."""
    source, target = dtype_of(array), tensor.dtype
    if target == "unknown" or target == source:
        return array
    target_dtype = NUMPY[target]
    if not array.size:  # without values, nothing is lost, and the type of objects is unknown
        return np.empty(array.shape, target_dtype)
    if target_dtype.kind not in {"f": "f", "i": "fiu", "u": "fiu", "b": "fiub"}.get(array.dtype.kind, ""):
        raise TypeError(f"tensor {tensor.name!r} is {target}: an array of {source} cannot be sent under it")
    with np.errstate(over="ignore"):
        cast = array.astype(target_dtype)
    lost = cast != array if target_dtype.kind in "iu" else np.isinf(cast) & ~np.isinf(array)
    if np.any(lost):
        raise ValueError(f"tensor {tensor.name!r} is {target}: {array[lost][0]} does not fit")
    return cast


def _tensor(values: Values) -> pb.Tensor:
    array = values.array
    if array.dtype.kind == "O":
        strings = [text.encode() for text in array.ravel().tolist()]
        return pb.Tensor(name=values.name, dtype=TO_PROTO["string"], shape=array.shape, strings=strings)
    return pb.Tensor(name=values.name, dtype=TO_PROTO[dtype_of(array)], shape=array.shape, data=array.tobytes())


def _column(values: Values) -> pb.Column:
    array = values.array
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise ValueError(
            f"{values.name!r} has the shape {array.shape}, but a request with gaps in strings, integers or booleans "
            "is sent as columns of shape (rows,)"
        )
    column = pb.Column(name=values.name, missing=values.missing)
    items = array.ravel().tolist()
    if array.dtype.kind == "O":
        column.strings.values.extend(items)
    elif array.dtype.kind == "f":
        column.doubles.values.extend(items)
    elif array.dtype.kind == "b":
        column.bools.values.extend(items)
    else:
        try:
            column.ints.values.extend(items)
        except ValueError as error:  # protobuf: out of range
            raise ValueError(f"{values.name!r} holds integers beyond int64 beside gaps") from error
    return column
