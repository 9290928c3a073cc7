"""Rows to verify an imported graph with: from a sample, or random ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from skylane.convert.errors import BadRows
from skylane.convert.inspection.schema import Array
from skylane.convert.loading.rows_file import ROWS_NAMES, read_file
from skylane.convert.wording import shape_text
from skylane.dtypes import NUMPY
from skylane.manifest import TensorSpec

SEED: Final = 0
RANDOM_ROWS: Final = 64

Sample = pd.DataFrame | Mapping[str, Array]


@dataclass(frozen=True)
class Rows:
    """The inputs of a graph for some rows."""

    arrays: Mapping[str, Array]
    source: Literal["sample", "random"]
    names: tuple[str, ...] = ()
    """Names of the columns of the only input, as the sample has them; empty if it has none."""

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


def read_rows(path: Path, inputs: Sequence[TensorSpec]) -> Rows:
    """Read the rows of a file. Raises Unreadable or BadRows."""
    texts = [spec.name for spec in inputs if spec.dtype == "string"]
    return inputs_of_sample(read_file(path, texts), inputs, str(path))


def inputs_of_sample(sample: Sample, inputs: Sequence[TensorSpec], source: str) -> Rows:
    """The sample as inputs of the graph. `source` names the sample in errors. Raises BadRows."""
    names: tuple[str, ...] = ()
    if isinstance(sample, pd.DataFrame):
        arrays, names = _of_frame(sample, inputs, source)
    else:
        arrays = _of_arrays(sample, inputs, source)
    cast = {spec.name: _cast(arrays[spec.name], spec, source) for spec in inputs}
    counts = {name: len(array) for name, array in cast.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listed = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise BadRows(f"{source}: expected the same number of rows, at least 1, for every input; {listed}")
    return Rows(cast, "sample", names)


def random_rows(inputs: Sequence[TensorSpec], *, open_size: int, integers: int, rows: int = RANDOM_ROWS) -> Rows:
    """Reproducible random rows: standard normal floats, integers below a bound, and texts of such integers.

    `open_size`: the size of each dynamic dimension other than the batch dimension.
    """
    random = np.random.default_rng(SEED)
    arrays = {}
    for spec in inputs:
        shape = (rows, *(size or open_size for size in spec.shape[1:]))
        if spec.dtype.startswith("float"):
            arrays[spec.name] = random.standard_normal(shape).astype(NUMPY[spec.dtype])
            continue
        whole = random.integers(0, 2 if spec.dtype == "bool" else integers, shape)
        arrays[spec.name] = whole.astype(str).astype(object) if spec.dtype == "string" else whole.astype(spec.dtype)
    return Rows(arrays, "random")


def inputs_text(inputs: Sequence[TensorSpec]) -> str:
    """The inputs of a graph with their types and shapes, for messages."""
    return ", ".join(f"{spec.name!r} {spec.dtype} {shape_text(spec.shape)}" for spec in inputs)


def _of_arrays(sample: Mapping[str, Array], inputs: Sequence[TensorSpec], source: str) -> dict[str, Array]:
    if all(spec.name in sample for spec in inputs):
        return {spec.name: sample[spec.name] for spec in inputs}
    if len(inputs) == 1:
        candidates = [sample[name] for name in ROWS_NAMES if name in sample] or list(sample.values())
        if len(candidates) == 1 or any(name in sample for name in ROWS_NAMES):
            return {inputs[0].name: candidates[0]}
    raise BadRows(
        f"{source}: expected an array for each input ({inputs_text(inputs)}), but there are {', '.join(sample)}"
    )


def _of_frame(
    frame: pd.DataFrame, inputs: Sequence[TensorSpec], source: str
) -> tuple[dict[str, Array], tuple[str, ...]]:
    frame = frame.rename(columns=str)
    if all(spec.name in frame.columns and _width(spec) == 1 for spec in inputs):
        return {spec.name: frame[spec.name].to_numpy() for spec in inputs}, ()
    if len(inputs) > 1:
        raise BadRows(
            f"{source}: the graph takes {inputs_text(inputs)}: give an .npz file with an array for each of these names"
        )
    (spec,) = inputs
    width = _width(spec)
    if width is not None and width != len(frame.columns):
        raise BadRows(
            f"{source}: the graph takes {width} columns and the sample has {len(frame.columns)} "
            f"({', '.join(map(str, frame.columns[:20]))}): drop the columns that the model does not use"
        )
    names = tuple(map(str, frame.columns)) if len(spec.shape) == 2 else ()
    return {spec.name: frame.to_numpy(object if spec.dtype == "string" else None)}, names


def _width(spec: TensorSpec) -> int | None:
    """Number of values of one row; None if it is dynamic."""
    width = 1
    for size in spec.shape[1:]:
        if size is None:
            return None
        width *= size
    return width


def _cast(array: Array, spec: TensorSpec, source: str) -> Array:
    """The values in the input's type and shape. Raises BadRows if that would change them by more than rounding."""
    where = f"{source}: input {spec.name!r}"
    shaped = _shaped(np.asarray(array), spec, where)
    if spec.dtype == "string":
        if pd.isna(shaped).any():
            raise BadRows(
                f"{where}: it has missing values, which a string tensor cannot hold: use empty strings or "
                "drop these rows"
            )
        return shaped.astype(object) if shaped.dtype.kind == "O" else shaped.astype(str).astype(object)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = shaped.astype(np.float64) if shaped.dtype.kind in "OUS" else shaped
            cast: Array = numbers.astype(NUMPY[spec.dtype])
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRows(f"{where}: expected {spec.dtype}: {' '.join(str(error).split())[:200]}") from error
    if cast.dtype.kind in "iub" and not np.array_equal(cast.astype(numbers.dtype), numbers):
        raise BadRows(f"{where}: expected {spec.dtype}, but the sample has values that it cannot represent")
    return np.ascontiguousarray(cast)


def _shaped(array: Any, spec: TensorSpec, where: str) -> Array:
    sizes = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        size in (None, actual) for size, actual in zip(sizes, array.shape[1:], strict=True)
    )
    if fits:
        shaped: Array = array
        return shaped
    width = _width(spec)
    if array.ndim in (1, 2) and width is not None and array.size == len(array) * width:
        return np.reshape(array, (len(array), *[size or 1 for size in sizes]))  # rows stored flat
    raise BadRows(f"{where}: expected the shape {shape_text(spec.shape)}, received {tuple(array.shape)}")
