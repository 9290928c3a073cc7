"""Replies → predictions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from skylane.client.errors import Internal
from skylane.dtypes import FROM_PROTO, NUMPY
from skylane.v1 import prediction_pb2 as pb

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """A model's answer: one row for each row of the request.

    Arrays of numbers are read-only views of the reply's bytes; `.copy()` one to change it. Strings are arrays of `str`
    objects. Outputs are read by name, `prediction["probabilities"]`, or by the properties below.
    """

    model: str
    """Name of the model that answered."""
    version: int
    """The version that answered."""
    outputs: Mapping[str, Array]
    """Output → values, in the requested order."""
    cached: bool = False
    """True if the model did not run for this request."""
    request_id: str = ""
    prediction_id: str = ""
    """Identifies this answer when its outcome is recorded. Empty if the model's predictions are not recorded."""

    @property
    def label(self) -> Array:
        """The classes predicted: (rows,). AttributeError if the model returned no output "label"."""
        return self._output("label")

    @property
    def probabilities(self) -> Array:
        """The probability of each class: (rows, classes). `Client.model(…).classes` names the columns."""
        return self._output("probabilities")

    @property
    def prediction(self) -> Array:
        """A regressor's answer in the graph's shape: (rows,), (rows, 1) or (rows, targets)."""
        return self._output("prediction")

    @property
    def values(self) -> Array:
        """A regressor's answer with one number per row: `prediction`, but (rows,) rather than (rows, 1)."""
        array = self._output("prediction")
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array

    def __getitem__(self, name: str) -> Array:
        try:
            return self.outputs[name]
        except KeyError:
            raise KeyError(self._absent(name)) from None

    def __len__(self) -> int:
        return next((int(array.shape[0]) for array in self.outputs.values() if array.ndim), 0)

    def __bool__(self) -> bool:
        return True  # an answer for 0 rows is still an answer

    def __repr__(self) -> str:
        arrays = ", ".join(
            f"{name} {'string' if array.dtype.kind == 'O' else array.dtype} {array.shape}"
            for name, array in self.outputs.items()
        )
        rows = "1 row" if len(self) == 1 else f"{len(self)} rows"
        return f"<Prediction of {self.model} version {self.version}, {rows}{', cached' * self.cached}: {arrays}>"

    def _output(self, name: str) -> Array:
        try:
            return self.outputs[name]
        except KeyError:
            raise AttributeError(self._absent(name), name=name, obj=self) from None

    def _absent(self, name: str) -> str:
        there = ", ".join(map(repr, self.outputs)) or "nothing"
        return f"{self.model} version {self.version} returned no {name!r}; it returned {there}"


def decode(reply: pb.PredictResponse) -> Prediction:
    """The reply as a prediction. Raises Internal if its tensors contradict their types or shapes."""
    return Prediction(
        model=reply.model,
        version=reply.version,
        outputs={tensor.name: array_of(tensor) for tensor in reply.outputs},
        cached=reply.cached,
        request_id=reply.request_id,
        prediction_id=reply.prediction_id,
    )


def array_of(tensor: pb.Tensor) -> Array:
    """The tensor's elements: a read-only view for all types but strings. Raises Internal if it contradicts itself."""
    shape, name = tuple(tensor.shape), FROM_PROTO.get(tensor.dtype)
    if name is None or any(size < 0 for size in shape):
        raise Internal(f"output {tensor.name!r} of the reply cannot be read: dtype {tensor.dtype}, shape {shape}")
    if name == "string":
        array = np.empty(len(tensor.strings), dtype=object)
        array[:] = [text.decode("utf-8", "replace") for text in tensor.strings]
    else:
        data, dtype = tensor.data, NUMPY[name]
        array = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)
    if array.size != prod(shape) or (name != "string" and array.nbytes != len(tensor.data)):
        raise Internal(f"output {tensor.name!r} of the reply has {array.size} elements for the shape {shape}")
    return array.reshape(shape)
