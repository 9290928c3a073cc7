"""Whether the answer to a row depends on the batch in which it is run: by what the graph has, and by trial.

Most graphs answer a row alike whoever asks beside it. Two kinds do not:

- ONNX Runtime computes its linear operators for a single row in another order than for several, so that the last bit of
  an answer differs. Such a graph runs a lone row twice (`runtime/paired_rows.py`), which costs about 3 µs.
- Dynamic quantization takes the range of a whole batch as its scale. There, answers differ by what was quantized.

docs/adr/0015-answers-do-not-depend-on-the-batch.md
"""

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Final

import numpy as np

from skylane.server.core.types import Array
from skylane.server.repository.cost_measurement import Run

LINEAR_OPERATORS: Final = frozenset({"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"})
BATCH_OPERATORS: Final = frozenset({"DynamicQuantizeLinear"})
"""Operators of each kind above."""

OPERATORS: Final = LINEAR_OPERATORS | BATCH_OPERATORS

TRIAL_ROWS: Final = 16
"""Rows that are run alone, in twos and together."""
TRIAL_S_MAX: Final = 0.05
"""A graph that takes longer for them is not tried: running a lone row twice would cost it little."""


class RowIndependence(Enum):
    """How far a batch reaches into the answer to a row."""

    COMPLETE = "the answer to a row is the same in every batch"
    FROM_TWO_ROWS = "it is the same in every batch of two rows or more"
    NONE = "it depends on the rows beside it"


def row_independence(
    run: Run, golden: Sequence[Array], operators: Collection[str], clock: Callable[[], float]
) -> RowIndependence:
    """By the operators that the graph has, and by runs of rows made from the golden ones. Raises what `run` raises."""
    if not BATCH_OPERATORS.isdisjoint(operators):
        return RowIndependence.NONE
    rows = _trial_rows(golden)
    began_at = clock()
    together = run(rows)
    if clock() - began_at > TRIAL_S_MAX:
        return RowIndependence.FROM_TWO_ROWS
    if not _is_equal(together, _in_parts(run, rows, 2)):
        return RowIndependence.NONE
    if not LINEAR_OPERATORS.isdisjoint(operators) or not _is_equal(together, _in_parts(run, rows, 1)):
        return RowIndependence.FROM_TWO_ROWS
    return RowIndependence.COMPLETE


def _trial_rows(golden: Sequence[Array]) -> list[Array]:
    """The golden rows over and over, with numbers that differ a little each time."""
    rng = np.random.default_rng(0)
    rows = []
    for array in golden:
        repeated = np.resize(array, (TRIAL_ROWS, *array.shape[1:]))
        if array.dtype.kind == "f":
            scale = np.asarray(rng.uniform(0.98, 1.02, repeated.shape))
            scale[: len(array)] = 1
            repeated = (repeated * scale).astype(array.dtype)
        rows.append(repeated)
    return rows


def _in_parts(run: Run, rows: Sequence[Array], size: int) -> list[Array]:
    parts = [run([array[start : start + size] for array in rows]) for start in range(0, TRIAL_ROWS, size)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _is_equal(one: Sequence[Array], other: Sequence[Array]) -> bool:
    """Bit for bit, but for NaN."""
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other, strict=True))
