"""What is sent: requests that do not repeat themselves, or a file's own order.

A few example rows sent again and again would measure the cache. So each request is new: every value is drawn from
one of the examples in the model's manifest. With a file, its rows are sent in its order, and repeat as they do there; a
file that has been sent to its end starts again with numbers changed in their last bits, so that only its own repeats
are repeats.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from skylane.bench.workload.golden import Unsuitable
from skylane.bench.workload.payloads import Array, grpc_exchange
from skylane.cli.rows import Columns, from_csv
from skylane.client import Model
from skylane.dtypes import NUMPY

BODIES_MAX: Final = 50_000
"""Different requests in one measurement; more are sent from the start again."""

Tensors = Mapping[str, Array]


class Rows(Protocol):
    """Where rows come from."""

    description: str
    """What is asked, in a few words."""

    def take(self, count: int, rng: np.random.Generator, /) -> dict[str, Array]:
        """The next rows: tensor → (count, …)."""
        ...


def bodies(model: str, rows: Rows, requests: int, rows_each: int, rng: np.random.Generator) -> list[bytes]:
    """The next requests of so many rows each, framed."""
    count = min(requests, BODIES_MAX)
    inputs = rows.take(count * rows_each, rng)
    places = [slice(start, start + rows_each) for start in range(0, count * rows_each, rows_each)]
    return [grpc_exchange(model, {name: array[place] for name, array in inputs.items()}, {}).body for place in places]


class Mixed:
    """Each value from any of the examples of a model: as many different rows as there are combinations."""

    description = "rows mixed from the model's examples, all different: no cache can help"

    def __init__(self, examples: Tensors) -> None:
        """`examples`: tensor → (rows, …), at least one row."""
        self._examples = examples

    def take(self, count: int, rng: np.random.Generator) -> dict[str, Array]:
        mixed = {}
        for name, array in self._examples.items():
            flat = array.reshape(len(array), -1)
            picks = rng.integers(len(flat), size=(count, flat.shape[1]))
            mixed[name] = flat[picks, np.arange(flat.shape[1])].reshape(count, *array.shape[1:])
        return mixed


class Recorded:
    """Rows in the order in which they came."""

    def __init__(self, inputs: Tensors, source: str) -> None:
        """`inputs`: tensor → (rows, …), at least one row."""
        self._inputs = inputs
        self._rows = len(next(iter(inputs.values())))
        self._sent = 0
        self.description = f"{self._rows:,} rows of {source} in their order"

    def take(self, count: int, _rng: np.random.Generator) -> dict[str, Array]:
        places = np.arange(self._sent, self._sent + count)
        self._sent += count
        rounds = places // self._rows
        taken = {name: array[places % self._rows] for name, array in self._inputs.items()}
        return {name: _changed(array, rounds) for name, array in taken.items()}


def examples(model: Model) -> dict[str, Array]:
    """The rows that the manifest keeps. Raises Unsuitable if it keeps none."""
    kept = (model.manifest.get("golden") or {}).get("inputs", {})
    unknown = [spec.name for spec in model.tensors if spec.dtype == "unknown" or not kept.get(spec.name)]
    if unknown:
        raise Unsuitable(
            f"the manifest of {model.name} version {model.version} keeps no example rows for {', '.join(unknown)}; "
            "publish it with `skylane convert`, which keeps some, or give rows with --data FILE.csv"
        )
    return {
        spec.name: np.array(kept[spec.name], object if spec.dtype == "string" else NUMPY[spec.dtype])
        for spec in model.tensors
        if spec.dtype != "unknown"
    }


def recorded(path: Path, model: Model) -> Recorded:
    """The rows of a CSV file. Raises Unsuitable, naming what does not fit."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            columns, _ = from_csv(lines, model)
        return Recorded(tensors_of(columns, model), path.name)
    except OSError as error:
        raise Unsuitable(f"--data {path}: {error.strerror or error}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise Unsuitable(f"--data {path}: {error}") from error


def tensors_of(columns: Columns, model: Model) -> dict[str, Array]:
    """Columns as the tensors of the graph. Raises ValueError for one that is missing, and for gaps that are refused."""
    if missing := [column.name for column in model.columns if column.name not in columns]:
        raise ValueError(f"expected all columns of {model.name}; missing: {', '.join(missing)}")
    parts: dict[str, list[tuple[int, Array]]] = {}
    stands_for = {each["name"]: each.get("missing") for each in model.manifest.get("columns", [])}
    for column in model.columns:
        values = [stands_for.get(column.name) if value is None else value for value in columns[column.name]]
        if None in values:
            raise ValueError(f"row {values.index(None)} has no {column.name}, which the model does not take")
        dtype = object if column.dtype == "string" or column.dtype == "unknown" else NUMPY[column.dtype]
        parts.setdefault(column.tensor, []).append((column.index, np.array(values, dtype)))
    return {name: _beside(found) for name, found in parts.items()}


def _beside(found: Iterable[tuple[int, Array]]) -> Array:
    ordered: Sequence[Array] = [array for _, array in sorted(found, key=lambda pair: pair[0])]
    return np.stack(ordered, axis=1)


def _changed(array: Array, by: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Array:
    """Finite numbers, each row's moved by so many of the smallest steps that there are; the rest as it is."""
    if array.dtype.kind != "f":
        return array
    whole = np.dtype(f"i{array.dtype.itemsize}")
    moved = (array.view(whole) + by.reshape(-1, *[1] * (array.ndim - 1)).astype(whole)).view(array.dtype)
    return np.where(np.isfinite(array) & np.isfinite(moved), moved, array)
