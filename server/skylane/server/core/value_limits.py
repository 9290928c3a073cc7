"""Which values a pipeline refuses that its graph would answer: gaps and infinities. Pure.

scikit-learn raises on most of them; a graph computes on and gives some answer. So they are looked for here, in the
tensors as they go to the graph, however they were sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skylane.manifest import ColumnSpec, TensorSpec
from skylane.server.core.errors import InputMismatch

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Limit:
    """What one tensor may not hold, and where along its second dimension."""

    tensor: int
    what: str
    places: tuple[int, ...]
    everywhere: bool

    def violations(self, array: Array) -> Array:
        """(rows, places) True where a value is refused."""
        looked_at = array if self.everywhere else array[:, self.places]
        found: Array = np.isnan(looked_at) if self.what == "gap" else np.isinf(looked_at)
        return found


class ValueLimits:
    """The limits of one model."""

    def __init__(self, tensors: Sequence[TensorSpec], columns: Sequence[ColumnSpec]) -> None:
        self._tensors, self._columns = tensors, {(column.tensor, column.index): column.name for column in columns}
        self._limits: list[_Limit] = []
        self._finite: list[int] = []
        self._partial: list[_Limit] = []
        for number, tensor in enumerate(tensors):
            if not tensor.dtype.startswith("float") or len(tensor.shape) != 2:
                continue
            gapless = {column.index for column in columns if column.tensor == tensor.name and column.missing is None}
            made = [
                _Limit(number, what, tuple(sorted(places)), len(places) == tensor.shape[1])
                for what, places in (("gap", gapless | set(tensor.no_nan)), ("infinity", set(tensor.no_inf)))
                if places
            ]
            self._limits += made
            if len(made) == 2 and made[0].everywhere and made[1].everywhere:
                self._finite.append(number)  # one look instead of two
            else:
                self._partial += made

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._limits)

    def hold(self, arrays: Sequence[Array]) -> bool:
        """Whether nothing in these inputs is refused."""
        for number in self._finite:
            array = arrays[number]
            if np.count_nonzero(np.isfinite(array)) < array.size:  # half the time of `all` for a few rows
                return False
        return not any(limit.violations(arrays[limit.tensor]).any() for limit in self._partial)

    def check(self, arrays: Sequence[Array]) -> None:
        """Raise InputMismatch naming the first value that is refused."""
        for limit in self._limits:
            found = limit.violations(arrays[limit.tensor])
            if found.any():
                row, place = (int(index) for index in np.argwhere(found)[0])
                raise InputMismatch(self._text(limit, row, limit.places[place]))

    def _text(self, limit: _Limit, row: int, place: int) -> str:
        tensor = self._tensors[limit.tensor]
        column = self._columns.get((tensor.name, place))
        where = f"tensor {tensor.name!r}, place {place}" if column is None else f"column {column!r}"
        if limit.what == "gap":
            return f"{where}: the pipeline accepts no gaps here, but the value of row {row} is missing"
        return f"{where}: the pipeline accepts no infinity here, but the value of row {row} is one in {tensor.dtype}"
