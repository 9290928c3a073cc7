"""`POST /v1/models/<name>:predict`: rows as JSON in, predictions out; and TensorFlow Serving's bodies. Pure.

What a body holds decides what it gets back:

    {"rows": [{"carrier": "UA", …}, …]}, [{…}, …] or {…}   →  {"model", "version", "predictions": [{output: value}]}
    {"instances": […]}, TensorFlow Serving, by rows         →  {"predictions": […]}
    {"inputs": …}, TensorFlow Serving, by columns           →  {"outputs": …}

A row may name the model's columns or its tensors. Source for the latter two: tensorflow/serving, g3doc/api_rest.md.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec, TensorSpec
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import BadRequest, InputMismatch
from skylane.server.core.text import listed, quoted
from skylane.server.core.types import Array, Call, Interface, Route
from skylane.server.http import json_answers, json_text
from skylane.server.http.json_values import columns_of, is_encoded, read_column, read_tensor
from skylane.server.http.packed_replies import JsonTask, Reply, pack
from skylane.server.http.request_inputs import RequestInputs

SIGNATURE: Final = "serving_default"

_KEYS: Final = ("rows", "instances", "inputs")
_OPTIONS: Final[dict[str, frozenset[str]]] = {
    "rows": frozenset({"rows", "outputs"}),
    "instances": frozenset({"instances", "signature_name"}),
    "inputs": frozenset({"inputs", "signature_name"}),
}

Write = Callable[[Interface, Sequence[int], Sequence[Array]], Any]


class Prediction(RequestInputs):
    """One request, read as far as it can be without the model."""

    def __init__(self, body: bytes) -> None:
        """Raises BadRequest or InputMismatch."""
        content = _decode(body)
        given = [key for key in _KEYS if key in content] if isinstance(content, dict) else []
        if len(given) > 1:
            raise BadRequest(f"the body: expected one of {listed(_KEYS)}, received {listed(given)}")
        self.form = given[0] if given else "rows"
        self.wanted: tuple[str, ...] = ()
        self._values: Any = content if isinstance(content, list) else [content]
        if given:
            self._values = content[self.form]
            self._read_options(content)
        if self.form != "inputs":
            self._check_rows()

    def _read_options(self, body: Mapping[str, Any]) -> None:
        unknown = body.keys() - _OPTIONS[self.form]
        if unknown:
            raise BadRequest(
                f"the body: {quoted(min(unknown))} is not known: expected {listed(sorted(_OPTIONS[self.form]))}"
            )
        signature = body.get("signature_name") or SIGNATURE
        if signature != SIGNATURE:
            raise BadRequest(f"signature_name: expected {SIGNATURE!r} or nothing, received {quoted(str(signature))}")
        wanted = body.get("outputs", [])
        if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
            raise BadRequest("outputs: expected a list of names")
        if len(set(wanted)) < len(wanted):
            raise BadRequest("outputs: a name appears twice")
        self.wanted = tuple(wanted)

    def _check_rows(self) -> None:
        if not isinstance(self._values, list):
            raise BadRequest(f"{self.form}: expected a list")
        if self.form == "rows" and not self._values:
            raise BadRequest("rows: expected at least one, received none")
        for row, value in enumerate(self._values):
            if isinstance(value, dict) != isinstance(self._values[0], dict):
                raise BadRequest(f"{self.form}: expected all to be objects or none, but row {row} differs from row 0")

    def inputs(self, interface: Interface) -> Mapping[str, Array]:
        """The inputs by name. Raises InputMismatch."""
        values = self._values
        if self.form != "inputs" and values and self._are_objects(interface):
            values = _with_gaps(interface, columns_of(values), len(values))
        if isinstance(values, dict):
            return _read_named(interface, values)
        if len(interface.tensors) != 1:
            names = listed(repr(tensor.name) for tensor in interface.tensors)
            raise InputMismatch(f"{self.form}: this model takes the tensors {names}: name them, or its columns")
        spec = interface.tensors[0]
        if not values:
            return {spec.name: np.empty((0, *[size or 0 for size in spec.shape[1:]]), NUMPY[spec.dtype])}
        return {spec.name: _read_rows(spec, values)}

    def _are_objects(self, interface: Interface) -> bool:
        """Whether rows name their values, and are no strings in TensorFlow Serving's encoding."""
        first = self._values[0]
        return isinstance(first, dict) and not (is_encoded(first) and "b64" not in interface.columns_by_name)


class PredictionGroup(RequestGroup):
    """One prediction, for the engine."""

    __slots__ = ("_prediction",)

    def __init__(self, route: Route, call: Call, prediction: Prediction) -> None:
        super().__init__(route, [call], call.sink)
        self._prediction = prediction

    def bind(self, interface: Interface) -> Bound:
        arrays = self._prediction.arrays(interface)
        form = PredictionForm(interface, self._prediction.wanted, self._prediction.form)
        return JsonTask(self.calls, form, arrays, len(arrays[0])), ()


class PredictionForm:
    """How one model's predictions look in one of the three forms. See skylane.server.core.array_task.ReplyForm."""

    def __init__(self, interface: Interface, wanted: Sequence[str], form: str) -> None:
        """Raises InputMismatch if an output is not known."""
        self._interface, self._form = interface, form
        self._places = input_binding.output_places(interface, wanted)
        self.outputs: Hashable = ("v1", form, tuple(self._places))

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:  # noqa: ARG002
        assert calls == 1, "every request over HTTP is a task of its own"
        write = _WRITE[self._form]
        return [pack(json_answers.encode(lambda arrays: write(self._interface, self._places, arrays), outputs))]


def _write_rows(interface: Interface, places: Sequence[int], outputs: Sequence[Array]) -> Any:
    """Ours: an object for each row; probabilities under the names of their classes."""
    names = [interface.outputs[place].name for place in places]
    columns = [_friendly(interface.outputs[place], outputs[place]) for place in places]
    predictions = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return {"model": interface.model, "version": interface.version, "predictions": predictions}


def _friendly(spec: OutputSpec, array: Array) -> list[Any]:
    """One value for each row: a number or a text where there is one alone, else a list, or an object by class."""
    rows = len(array)
    if spec.classes and array.ndim == 2 and array.shape[1] == len(spec.classes):
        classes = [str(label) for label in spec.classes]
        return [dict(zip(classes, row, strict=True)) for row in array.tolist()]
    values: list[Any] = (array.reshape(rows) if array.size == rows else array).tolist()
    return values


def _write_instances(interface: Interface, places: Sequence[int], outputs: Sequence[Array]) -> Any:
    """TensorFlow Serving's, by rows: bare values where there is one output."""
    columns = [outputs[place].tolist() for place in places]
    if len(places) == 1:
        return {"predictions": columns[0]}
    names = [interface.outputs[place].name for place in places]
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]}


def _write_inputs(interface: Interface, places: Sequence[int], outputs: Sequence[Array]) -> Any:
    """TensorFlow Serving's, by columns: a bare list where there is one output."""
    if len(places) == 1:
        return {"outputs": outputs[places[0]].tolist()}
    return {"outputs": {interface.outputs[place].name: outputs[place].tolist() for place in places}}


_WRITE: Final[Mapping[str, Write]] = {"rows": _write_rows, "instances": _write_instances, "inputs": _write_inputs}


def with_id(reply: Reply) -> bytes:
    """The JSON of an answer in our own form, with its prediction id if it has one. That of TensorFlow Serving has no
    place for it."""
    if not reply.prediction_id:
        return reply.json
    return reply.json[:-1] + b',"prediction_id":"' + reply.prediction_id.encode() + b'"}'


def _decode(body: bytes) -> Any:
    content = json_text.decode_any(body)
    if not isinstance(content, dict | list):
        raise BadRequest(f"the body: expected an object or a list of objects, received {quoted(str(content))}")
    return content


def _read_named(interface: Interface, values: Mapping[str, Any]) -> Mapping[str, Array]:
    """Columns if the names are theirs, else tensors; what is neither is named by `binding.bind`."""
    tensors = interface.tensors_by_name
    if not input_binding.are_columns(interface, values) and values.keys() == tensors.keys():
        return {name: _read_rows(tensors[name], given) for name, given in values.items()}
    return {name: read_column(name, given if isinstance(given, list) else [given]) for name, given in values.items()}


def _with_gaps(interface: Interface, columns: dict[str, list[Any]], rows: int) -> dict[str, list[Any]]:
    """A column that may be missing can be left out of every row."""
    if columns and columns.keys() <= interface.columns_by_name.keys():
        left_out = [column.name for column in interface.columns if column.missing is not None]
        return {name: [None] * rows for name in left_out} | columns
    return columns


def _read_rows(spec: TensorSpec, values: Any) -> Array:
    """A tensor from a list of its rows; a row of one value may stand there without a list around it."""
    array = read_tensor(spec.name, spec.dtype, values)
    return array.reshape(-1, 1) if array.ndim == 1 and spec.shape == (None, 1) else array
