"""Refuses missing and infinite values that the pipeline would refuse but its graph would not. Pure.

scikit-learn raises on most of them, while a graph computes some result. So the server checks for them, in the tensors
as they are passed to the graph, for every protocol.
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
    """A kind of value that one tensor may not contain, and the indexes of its second dimension where it may not."""

    tensor: int
    what: str
    places: tuple[int, ...]
    everywhere: bool

    def violations(self, array: Array) -> Array:
        """(rows, places) True where a value is refused."""
        checked = array if self.everywhere else array[:, self.places]
        violations: Array = np.isnan(checked) if self.what == "gap" else np.isinf(checked)
        return violations


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
            limits = [
                _Limit(number, what, tuple(sorted(places)), len(places) == tensor.shape[1])
                for what, places in (("gap", gapless | set(tensor.no_nan)), ("infinity", set(tensor.no_inf)))
                if places
            ]
            self._limits += limits
            if len(limits) == 2 and limits[0].everywhere and limits[1].everywhere:
                self._finite.append(number)  # one check instead of two
            else:
                self._partial += limits

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._limits)

    def hold(self, arrays: Sequence[Array]) -> bool:
        """Whether all values of these inputs are allowed."""
        for number in self._finite:
            array = arrays[number]
            if np.count_nonzero(np.isfinite(array)) < array.size:  # half the time of `all` for a few rows
                return False
        return not any(limit.violations(arrays[limit.tensor]).any() for limit in self._partial)

    def check(self, arrays: Sequence[Array]) -> None:
        """Raise InputMismatch naming the first value that is refused."""
        for limit in self._limits:
            violations = limit.violations(arrays[limit.tensor])
            if violations.any():
                row, place = (int(index) for index in np.argwhere(violations)[0])
                raise InputMismatch(self._text(limit, row, limit.places[place]))

    def _text(self, limit: _Limit, row: int, place: int) -> str:
        tensor = self._tensors[limit.tensor]
        column = self._columns.get((tensor.name, place))
        where = f"tensor {tensor.name!r}, place {place}" if column is None else f"column {column!r}"
        if limit.what == "gap":
            return f"{where}: the pipeline accepts no gaps here, but the value of row {row} is missing"
        return f"{where}: the pipeline accepts no infinity here, but the value of row {row} is one in {tensor.dtype}"
