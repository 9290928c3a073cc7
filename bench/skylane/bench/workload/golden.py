"""Golden requests: rows that a model's manifest keeps as examples, with their right answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skylane.bench.workload.payloads import Array, Exchange, grpc_exchange
from skylane.client import Client, Model
from skylane.client.schema import OutputSpec, TensorSpec
from skylane.dtypes import NUMPY


class Unsuitable(Exception):
    """No request can be made; the message says why, and what to do."""


@dataclass(frozen=True)
class GoldenRequests:
    """Requests to one version of one model."""

    model: str
    version: int
    exchanges: tuple[Exchange, ...]

    @property
    def bodies(self) -> list[bytes]:
        """As they travel."""
        return [exchange.body for exchange in self.exchanges]


def choose(client: Client, name: str | None) -> Model:
    """The model of this name, or the only one. Raises Unsuitable, and SkylaneError."""
    if name is None:
        served = [status.name for status in client.models()]
        if len(served) != 1:
            names = ", ".join(served) or "none"
            raise Unsuitable(f"which model is to be asked? Give --model NAME; the server has: {names}")
        (name,) = served
    return client.model(name)


def ready_models(client: Client) -> list[str]:
    """Names of the server's models that can be asked. Raises SkylaneError."""
    return [status.name for status in client.models() if any(each.state == "ready" for each in status.versions)]


def golden(model: Model, rows: int) -> GoldenRequests:
    """A request of so many rows for each example of the manifest, starting with that example.

    Raises Unsuitable for a version whose manifest keeps none.
    """
    kept: Mapping[str, Any] = model.manifest.get("golden") or {}
    inputs = {spec.name: _array(kept.get("inputs", {}).get(spec.name), spec) for spec in model.tensors}
    outputs = {spec.name: _array(kept.get("outputs", {}).get(spec.name), spec) for spec in model.outputs}
    count = min((len(array) for array in (*inputs.values(), *outputs.values())), default=0)
    if not count:
        raise Unsuitable(
            f"the manifest of {model.name} version {model.version} keeps no example rows to send; "
            "publish it with `skylane convert`, which keeps some"
        )

    def turned(arrays: Mapping[str, Array], first: int) -> dict[str, Array]:
        places = (first + np.arange(rows)) % count
        return {name: array[places] for name, array in arrays.items()}

    exchanges = (grpc_exchange(model.name, turned(inputs, row), turned(outputs, row)) for row in range(count))
    return GoldenRequests(model.name, model.version, tuple(exchanges))


def _array(values: Any, spec: TensorSpec | OutputSpec) -> Array:
    if values is None or spec.dtype == "unknown":
        return np.zeros(0)
    return np.array(values, NUMPY[spec.dtype])
