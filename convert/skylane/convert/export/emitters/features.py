"""What one step passes to the next: columns of tensors, and deferred arithmetic on them.

A scaler adds no node: its arithmetic is recorded. A linear model then folds all that was recorded into one matrix
product, and a tree moves its thresholds instead. Pure: arrays and names of tensors; no estimator, no node.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.inspection.schema import Array

Arithmetic = Literal["Sub", "Div", "Mul", "Add"]
"""Operators of ONNX, and functions of numpy with the same rounding."""

UFUNC: Final[dict[Arithmetic, np.ufunc]] = {"Sub": np.subtract, "Div": np.divide, "Mul": np.multiply, "Add": np.add}


@dataclass(frozen=True)
class Pointwise:
    """One operation on every column, each with its own number: (width) float64."""

    op: Arithmetic
    by: Array

    def take(self, places: Sequence[int]) -> "Pointwise":
        """The same for some of the columns."""
        return Pointwise(self.op, self.by[list(places)])


@dataclass(frozen=True)
class Part:
    """Columns of one tensor, and the deferred operations on them, in this order."""

    tensor: Tensor
    columns: tuple[int, ...]
    """Indices of the tensor's columns; for codes, of the categories."""
    steps: tuple[Pointwise, ...] = ()
    codes: int = 0
    """How many codes there are; 0: the tensor holds no codes.

    Otherwise it holds one code for each row, (rows) int64 in 0…codes, and column c is 1.0 where the code is c, else
    0.0. The last code, `codes`, stands for what is no category.
    """

    @property
    def width(self) -> int:
        return len(self.columns)

    @property
    def whole(self) -> bool:
        """Whether these are all columns of the tensor, in its order."""
        return self.columns == tuple(range(self.tensor.width or 0)) and not self.codes

    def take(self, places: Sequence[int]) -> "Part":
        """Some of the columns, in this order."""
        columns = tuple(self.columns[place] for place in places)
        return replace(self, columns=columns, steps=tuple(step.take(places) for step in self.steps))

    def exact(self, values: Array) -> Array:
        """The deferred operations on numbers of these columns, rounded as in scikit-learn: (any, width) float64."""
        for step in self.steps:
            values = UFUNC[step.op](values, step.by)
        return values

    def folded(self) -> "Part":
        """The same with at most one subtraction, one product and one sum; rounded differently."""
        centre, slope, offset = self.affine()
        if (slope != 0).all() and np.isfinite(slope).all():
            centre, offset = centre - offset / slope, np.zeros(self.width)
        steps: list[Pointwise] = []
        for op, by, neutral in (("Sub", centre, 0.0), ("Mul", slope, 1.0), ("Add", offset, 0.0)):
            if (by != neutral).any():
                steps.append(Pointwise(op, by))  # type: ignore[arg-type]
        return replace(self, steps=tuple(steps))

    def affine(self) -> tuple[Array, Array, Array]:
        """Centre, slope and offset, each (width), of (x - centre) · slope + offset, which is what the steps do.

        What is subtracted first stays the centre: the small numbers that it leaves lose no precision in the product.
        """
        centre, slope, offset = np.zeros(self.width), np.ones(self.width), np.zeros(self.width)
        for step in self.steps:
            untouched = (slope == 1) & (offset == 0) & (centre == 0)
            if step.op == "Sub":
                centre, offset = np.where(untouched, step.by, centre), np.where(untouched, offset, offset - step.by)
            elif step.op == "Add":
                offset = offset + step.by
            else:
                with np.errstate(divide="ignore"):
                    factor = 1.0 / step.by if step.op == "Div" else step.by
                slope, offset = slope * factor, offset * factor
        added = (centre == 0) & (offset != 0) & (slope != 0) & np.isfinite(slope)
        with np.errstate(all="ignore"):
            centre = np.where(added, -offset / np.where(added, slope, 1.0), centre)
        return centre, slope, np.where(added, 0.0, offset)


@dataclass(frozen=True)
class Features:
    """A matrix (rows, width): concatenated parts, and perhaps a deferred matrix product."""

    parts: tuple[Part, ...]
    matrix: Array | None = None
    """(columns of all parts, width) float64; None: no product."""
    offset: Array | None = None
    """(width) float64, added to the product."""

    @classmethod
    def of(cls, tensor: Tensor) -> "Features":
        """All of a tensor's columns; a vector is one column."""
        return cls((Part(tensor, tuple(range(1 if tensor.width is None else tensor.width))),))

    @classmethod
    def coded(cls, codes: Tensor, categories: int) -> "Features":
        """One column of zeros and ones for each category; the code after the last category gives zeros only."""
        return cls((Part(codes, tuple(range(categories)), codes=categories),))

    @classmethod
    def joined(cls, several: Sequence["Features"]) -> "Features":
        """Concatenated. None of them may have a deferred product."""
        assert all(one.matrix is None for one in several), (
            "a deferred product is computed before it is joined with others"
        )
        parts: list[Part] = []
        for part in (part for one in several for part in one.parts if part.width):
            last = parts[-1] if parts else None
            if last is not None and _alike(last, part):
                steps = tuple(
                    Pointwise(a.op, np.concatenate([a.by, b.by])) for a, b in zip(last.steps, part.steps, strict=True)
                )
                parts[-1] = replace(last, columns=last.columns + part.columns, steps=steps)
            else:
                parts.append(part)
        return cls(tuple(parts))

    @property
    def inner(self) -> int:
        """Columns of all parts."""
        return sum(part.width for part in self.parts)

    @property
    def width(self) -> int:
        return self.inner if self.matrix is None else int(self.matrix.shape[1])

    @property
    def plain(self) -> Tensor | None:
        """The tensor that holds exactly this matrix; None if something is deferred or columns are chosen."""
        if len(self.parts) == 1 and self.matrix is None and self.parts[0].whole and not self.parts[0].steps:
            return self.parts[0].tensor
        return None

    def take(self, places: Sequence[int]) -> "Features":
        """Some of the columns, in this order."""
        if self.matrix is not None:
            assert self.offset is not None
            return replace(self, matrix=self.matrix[:, list(places)], offset=self.offset[list(places)])
        taken = np.asarray(list(places), dtype=np.int64)
        starts = np.cumsum([0, *(part.width for part in self.parts)])
        owners = np.searchsorted(starts, taken, side="right") - 1
        runs = np.split(np.arange(len(taken)), np.flatnonzero(np.diff(owners)) + 1) if len(taken) else []
        return Features.joined(
            [
                Features((self.parts[owners[run[0]]].take((taken[run] - starts[owners[run[0]]]).tolist()),))
                for run in runs
            ]
        )

    def folded(self) -> "Features":
        """The same with fewer operations, which are rounded differently: not for use before a comparison."""
        return replace(self, parts=tuple(part.folded() for part in self.parts))

    @classmethod
    def mixed(cls, several: Sequence["Features"], matrices: Sequence[Array]) -> "Features":
        """The sum of each one times its matrix, (its width, width). Only equal parts may have deferred products."""
        first = several[0]
        if first.matrix is not None and all(one.parts == first.parts and one.matrix is not None for one in several):
            products = [one.times(matrix) for one, matrix in zip(several, matrices, strict=True)]
            total = sum(one.matrix for one in products if one.matrix is not None)
            shift = sum(one.offset for one in products if one.offset is not None)
            return cls(first.parts, np.asarray(total), np.asarray(shift))
        joined = cls.joined(several)
        return joined.times(np.concatenate(matrices))

    def then(self, op: Arithmetic, by: Array | float) -> "Features":
        """One more operation: on every column with its own number, or on all with one."""
        by = np.broadcast_to(np.asarray(by, dtype=np.float64), (self.width,))
        if self.matrix is not None:
            assert self.offset is not None
            if op in ("Mul", "Div"):
                return replace(self, matrix=UFUNC[op](self.matrix, by), offset=UFUNC[op](self.offset, by))
            return replace(self, offset=UFUNC[op](self.offset, by))
        parts, start = [], 0
        for part in self.parts:
            step = Pointwise(op, by[start : start + part.width])
            parts.append(replace(part, steps=(*part.steps, step)))
            start += part.width
        return Features(tuple(parts))

    def times(self, matrix: Array, offset: Array | float = 0.0) -> "Features":
        """The product with a matrix, (width, any) float64, and an offset, (any)."""
        matrix = np.asarray(matrix, dtype=np.float64)
        offset = np.broadcast_to(np.asarray(offset, dtype=np.float64), (matrix.shape[1],))
        if self.matrix is None:
            return Features(self.parts, matrix, offset)
        assert self.offset is not None
        return Features(self.parts, self.matrix @ matrix, self.offset @ matrix + offset)


def _alike(one: Part, other: Part) -> bool:
    """Whether both are columns of the same tensor with the same deferred operations."""
    return (
        one.tensor == other.tensor
        and one.codes == other.codes
        and [step.op for step in one.steps] == [step.op for step in other.steps]
    )
