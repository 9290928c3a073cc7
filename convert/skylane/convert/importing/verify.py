"""Verifies that an imported graph can be served: it runs, returns a row for each row, and treats rows independently.

A server runs rows of several callers in one batch, so a row's answer must not depend on the other rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from skylane.convert.errors import BadRows, Unconvertible
from skylane.convert.export.session import Session
from skylane.convert.importing.graph import Graph
from skylane.convert.importing.sample import Rows, random_rows
from skylane.convert.inspection.schema import Array

VERIFIED_ROWS: Final = 16
"""Rows that are run both alone and in one batch."""

OPEN_SIZES: Final = (4, 32, 224)
"""Sizes tried for dynamic dimensions of random rows: a sequence, a small image, and an image of the usual size."""

INTEGERS: Final = (10, 2, 1)
"""Bounds tried for random integers, which may be indices into a table of any length."""

RTOL: Final[dict[str, float]] = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-4}
"""Largest difference between a row alone and in a batch that counts as rounding: sums may have another order."""

FIXED_BATCH_ADVICE: Final = (
    "export it with an open batch dimension: torch.onnx.export(…, dynamic_axes={{{name!r}: {{0: 'batch'}}}}), or in "
    "tf2onnx an input signature whose first size is None"
)


@dataclass(frozen=True)
class Verified:
    """The result of running a graph on verified rows."""

    session: Session
    rows: Rows
    outputs: Mapping[str, Array]
    """Its answers to the verified rows in one batch."""
    verified_rows: int
    difference: str | None
    """How a row's answer alone differs from that in a batch, in words; None if it is the same."""
    compared: bool
    """Whether at least two rows differed, without which the comparison proves nothing."""


def rows_for(graph: Graph, session: Session) -> Rows:
    """Random rows on which the graph runs. Raises BadRows if it fails on all that are tried."""
    sizes = OPEN_SIZES if any(None in spec.shape[1:] for spec in graph.inputs) else OPEN_SIZES[:1]
    whole = any(not spec.dtype.startswith("float") for spec in graph.inputs)
    failure: Exception | None = None
    for size, integers in product(sizes, INTEGERS if whole else INTEGERS[:1]):
        rows = random_rows(graph.inputs, open_size=size, integers=integers)
        try:
            session.run({name: array[:1] for name, array in rows.arrays.items()})
        except Exception as error:  # ONNX Runtime raises errors of any type
            failure = failure or error
            _check_fixed_batch(graph, session, rows, error)
        else:
            return rows
    raise BadRows(f"the graph fails on random rows: {reason(failure)}; give sample rows (--sample)")


def _check_fixed_batch(graph: Graph, session: Session, rows: Rows, error: Exception) -> None:
    """Raises Unconvertible if a graph that fails on one row runs on as many as it was exported for."""
    count = graph.fixed_batch or 1
    if count == 1:
        return
    try:
        session.run({name: np.resize(array, (count, *array.shape[1:])) for name, array in rows.arrays.items()})
    except Exception:  # ONNX Runtime raises errors of any type; the rows are the cause, not their number
        return
    raise Unconvertible(_on_fixed_batch(graph, f"on 1 row it fails: {reason(error)}")) from error


def verify(graph: Graph, session: Session, rows: Rows) -> Verified:
    """Run the graph on some of the rows, together and alone. Raises Unconvertible if it cannot be served at all."""
    places = np.unique(np.linspace(0, len(rows) - 1, VERIFIED_ROWS).astype(int))
    chosen = {name: array[places] for name, array in rows.arrays.items()}
    count = len(places)
    single = _run(graph, session, _part(chosen, 0, 1), 1)
    together = _run(graph, session, chosen, count)
    again = _run(graph, session, chosen, count)
    for name, array in together.items():
        if difference(array, again[name]) is not None:
            raise Unconvertible(
                f"output {name!r} differs between runs on the same rows, so it cannot be verified; "
                f"export the graph without random numbers (in PyTorch: model.eval() before the export)"
            )
    alone = [single] + [_run(graph, session, _part(chosen, place, 1), 1) for place in range(1, count)]
    return Verified(
        session=session,
        rows=rows,
        outputs=together,
        verified_rows=count,
        difference=_first_difference(together, alone),
        compared=any(len(array) > 1 and not _all_equal(array) for array in chosen.values()),
    )


def difference(array: Array, other: Array) -> str | None:
    """Describes a difference between two answers beyond rounding; None if there is none."""
    if array.shape != other.shape:
        return f"shape {list(array.shape)} and {list(other.shape)}"
    if array.dtype.kind != "f":
        same = array == other
    else:
        rtol = RTOL[array.dtype.name]
        finite = array[np.isfinite(array)]
        scale = max(1.0, float(np.abs(finite).max())) if finite.size else 1.0
        same = np.isclose(array, other, rtol=rtol, atol=0.1 * rtol * scale, equal_nan=True)
    if np.all(same):
        return None
    place = tuple(int(index) for index in np.argwhere(~np.asarray(same))[0])
    return f"{array[place]} and {other[place]}"


def _first_difference(together: Mapping[str, Array], alone: Sequence[Mapping[str, Array]]) -> str | None:
    for name, array in together.items():
        for row, answer in enumerate(alone):
            problem = difference(array[row : row + 1], answer[name])
            if problem is not None:
                return f"output {name!r}, row {row}: {problem}, in a batch of {len(alone)} and alone"
    return None


def _run(graph: Graph, session: Session, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """The outputs by name, after checking that each has a row for each input row. Raises Unconvertible."""
    try:
        outputs = session.named(inputs)
    except Exception as error:  # ONNX Runtime raises errors of any type
        if graph.fixed_batch is not None and rows != graph.fixed_batch:
            raise Unconvertible(_on_fixed_batch(graph, f"on {rows} rows it fails: {reason(error)}")) from error
        raise BadRows(f"the graph fails on {rows} row{'s' * (rows != 1)} of the sample: {reason(error)}") from error
    for name, array in outputs.items():
        if array.shape[:1] == (rows,):
            continue
        problem = f"output {name!r} has the shape {list(array.shape)} for {rows} row{'s' * (rows != 1)}, not a row each"
        raise Unconvertible(problem if graph.fixed_batch is None else _on_fixed_batch(graph, problem))
    return outputs


def _on_fixed_batch(graph: Graph, problem: str) -> str:
    advice = FIXED_BATCH_ADVICE.format(name=graph.inputs[0].name)
    return f"the graph was exported for batches of {graph.fixed_batch} rows only ({problem}): {advice}"


def _part(arrays: Mapping[str, Array], start: int, rows: int) -> dict[str, Array]:
    return {name: array[start : start + rows] for name, array in arrays.items()}


def _all_equal(array: Array) -> bool:
    """Whether all rows are the same."""
    flat = array.reshape(len(array), -1)
    same = flat == flat[:1]
    return bool(np.all(same | ((flat != flat) & (flat[:1] != flat[:1]))))  # NaN counts as equal to NaN


def reason(error: Exception | None) -> str:
    """The essential part of an ONNX Runtime message, without locations in its source code."""
    text = " ".join(str(error).split())
    for before in ("Status Message: ", " was false. "):
        text = text.rpartition(before)[2] or text
    return text[:200]
