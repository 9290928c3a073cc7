"""Measures how long a graph runs for batches of several sizes, for the engine's cost model."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from skylane.server.core.types import Array
from skylane.server.engine.cost import CostModel

TIMED_SIZES: Final = (1, 8, 64, 256, 1024)
TIMED_ROUNDS: Final = 5
TIMED_S_MAX: Final = 0.25
"""Sizes beyond the first that takes longer than this are not timed: they would only delay the start."""

Run = Callable[[Sequence[Array]], Sequence[Array]]
"""Runs the graph: inputs → outputs, both in the interface's order."""


def measure_cost(run: Run, inputs: Sequence[Array], sizes: Sequence[int], clock: Callable[[], float]) -> CostModel:
    """Time runs of these many rows, the given rows repeated; the best of a few rounds, since noise only adds."""
    measured: list[tuple[int, float]] = []
    for rows in sizes:
        batch = [np.resize(array, (rows, *array.shape[1:])) for array in inputs]
        best = math.inf
        for _ in range(TIMED_ROUNDS + 1):  # the first is the warm-up; a slow one is enough
            started_at = clock()
            run(batch)
            best = min(best, clock() - started_at)
            if best > TIMED_S_MAX:
                break
        measured.append((rows, best))
        if best > TIMED_S_MAX:
            break
    return CostModel(measured)
