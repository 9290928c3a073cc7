"""The columns that a pipeline takes, and the position of each in the graph's tensors. Knows pandas, not ONNX.

Each input of a graph costs 1.3–1.6 µs per run (measured), with ten columns no more than with one, so columns of the
same kind share a tensor.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from skylane.convert.errors import BadRows, Unconvertible
from skylane.convert.inspection.missing import Gap, kinds_of, natural
from skylane.convert.inspection.structure import (
    branches,
    column_names,
    columns_read,
    front_transformers,
    reads_bare_texts,
    text_columns,
)
from skylane.dtypes import NUMPY
from skylane.manifest import ColumnSpec, TensorSpec

Array = np.ndarray[Any, Any]
Kind = Literal["number", "string"]
NumberType = Literal["float32", "float64"]

LOST_MAX: Final = 2.0**-18
"""Largest share of a column's range by which rounding to float32 may change its numbers."""

LEFT_OUT: Final = "leave out what it was not trained on; if that is the truth, name it as the target (--target)"
"""Advice if a pipeline without column names gets other columns than in training."""

DENSE_MAX: Final = 2**27
"""Numbers that sparse rows may have as a dense array: a gigabyte."""

FEATURES: Final = "features"
TENSOR_OF: Final[dict[Kind, str]] = {"number": "numbers", "string": "strings"}


@dataclass(frozen=True)
class Column:
    """One feature as the pipeline knows it."""

    name: str
    kind: Kind
    whole: bool = False
    """True if the sample has integers or booleans here."""
    missing: float | str | None = None
    """The stand-in for missing values in the tensor; None: missing values are refused."""
    infinity: bool = True
    """False if infinities are refused."""
    double: bool = False
    """True if float32 cannot represent the sample's numbers here: long ids, seconds since 1970."""
    gap: Gap = "NaN"
    """The kind of missing values that the pipeline gets: in columns of objects, scikit-learn treats NaN unlike None."""


@dataclass(frozen=True)
class Layout:
    """How rows become the graph's inputs."""

    columns: tuple[Column, ...]
    """All columns, in the pipeline's order."""
    named: bool
    """False if the pipeline was trained on an array, whose columns have no names, only positions."""
    order: Mapping[str, tuple[int, ...]]
    """Tensor name → positions in `columns` of its columns, in the tensor's order."""
    crossed: tuple[str, ...] = ()
    """Tensors that several branches of a ColumnTransformer take as a whole, in different orders."""

    def native(self, frame: pd.DataFrame) -> Any:
        """The rows as the pipeline's input: a frame, or (rows, features) float64."""
        return frame if self.named else frame.to_numpy(np.float64)

    def tensors(self, frame: pd.DataFrame, numbers: NumberType) -> dict[str, Array]:
        """The rows as the graph's inputs. Raises BadRows for a missing value in a column that accepts none."""
        made: dict[str, Array] = {}
        for tensor, positions in self.order.items():
            columns = [self.columns[position] for position in positions]
            if columns[0].kind == "number":
                block = frame[[column.name for column in columns]].to_numpy(np.float64, na_value=np.nan)
                with np.errstate(over="ignore"):  # beyond float32 is infinite, which the gate will notice
                    made[tensor] = np.ascontiguousarray(block, NUMPY[numbers])
            else:
                made[tensor] = np.stack([_texts(frame[column.name], column) for column in columns], axis=1)
        return made

    def tensor_specs(self, numbers: NumberType) -> tuple[TensorSpec, ...]:
        """The graph's inputs as the manifest describes them."""
        return tuple(
            TensorSpec(
                name=tensor,
                dtype="string" if self.columns[positions[0]].kind == "string" else numbers,
                shape=(None, len(positions)),
                no_nan=self._places(positions, lambda column: column.missing is None),
                no_inf=self._places(positions, lambda column: not column.infinity),
            )
            for tensor, positions in self.order.items()
        )

    def _places(self, positions: tuple[int, ...], refuses: Callable[[Column], bool]) -> tuple[int, ...]:
        """Positions in a tensor of numbers of the columns that refuse NaN or infinity; texts are neither."""
        columns = [self.columns[position] for position in positions]
        return tuple(place for place, column in enumerate(columns) if column.kind == "number" and refuses(column))

    def column_specs(self, numbers: NumberType) -> tuple[ColumnSpec, ...]:
        """The columns as the manifest describes them; none if the pipeline was trained on an array."""
        if not self.named:
            return ()
        place = {
            position: (tensor, index)
            for tensor, positions in self.order.items()
            for index, position in enumerate(positions)
        }
        return tuple(
            ColumnSpec(
                name=column.name,
                dtype="string" if column.kind == "string" else numbers,
                tensor=place[position][0],
                index=place[position][1],
                missing="NaN" if isinstance(column.missing, float) else column.missing,
            )
            for position, column in enumerate(self.columns)
        )

    @property
    def doubles(self) -> tuple[str, ...]:
        """Columns whose numbers float32 cannot represent.

        If there is one, all numbers are float64: another tensor for a few columns would cost more than the extra bytes.
        """
        return tuple(column.name for column in self.columns if column.double)

    def with_missing(self, missing: Mapping[str, float | str | None]) -> "Layout":
        """The same layout with other stand-ins for missing values."""
        return replace(self, columns=tuple(replace(c, missing=missing.get(c.name, c.missing)) for c in self.columns))

    def with_gaps_as(self, gaps: Mapping[str, Gap]) -> "Layout":
        """The same layout with other kinds of missing values."""
        return replace(self, columns=tuple(replace(c, gap=gaps.get(c.name, c.gap)) for c in self.columns))

    def without_infinity(self, names: Collection[str]) -> "Layout":
        """The same layout, refusing infinities in these columns."""
        return replace(
            self, columns=tuple(replace(c, infinity=c.infinity and c.name not in names) for c in self.columns)
        )


def dense(rows: Any) -> Any:
    """A sparse matrix as a dense array; other rows unchanged. Raises BadRows for data that are no rows."""
    if isinstance(rows, str | Path):
        raise BadRows(f"expected rows, a data frame or an array, not a path: read {str(rows)!r} first")
    if not issparse(rows):
        return rows
    if np.prod(rows.shape, dtype=np.float64) > DENSE_MAX:
        raise BadRows(f"{rows.shape[0]} sparse rows of {rows.shape[1]} columns are too many as an array: give fewer")
    return rows.toarray()


def infer(estimator: Any, rows: pd.DataFrame | Array) -> tuple[Layout, pd.DataFrame]:
    """The layout, and the rows reduced to the columns that the pipeline reads, in its order.

    Raises BadRows if the rows do not fit the pipeline.
    """
    rows = dense(rows)
    if np.ndim(rows) == 0 or len(rows) == 0:
        raise BadRows("there are no rows to compare answers on: give some that the pipeline was not trained on")
    if reads_bare_texts(estimator):
        raise Unconvertible(
            "the pipeline begins with a vectorizer, which takes a list of texts, but rows have columns: begin it with "
            "ColumnTransformer([('text', TfidfVectorizer(), 'text')]), where the last 'text' is the column's name, "
            "and train it on a data frame"
        )
    names = column_names(estimator)
    if names is None:
        return _infer_array(estimator, rows)
    if not isinstance(rows, pd.DataFrame):
        raise BadRows(f"the pipeline was trained on a data frame with the columns {_some(names)}: give such a frame")
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise BadRows(f"the rows lack {len(missing)} of the pipeline's {len(names)} columns: {_some(missing)}")
    frame = rows[columns_read(estimator)].reset_index(drop=True)
    texts = text_columns(estimator)
    columns = tuple(_column(str(name), frame[name], text=str(name) in texts) for name in frame.columns)
    for column in columns:
        if column.kind == "number" and column.name in texts:
            raise BadRows(f"column {column.name!r} was text in training, but the rows have numbers: read it as text")
    order, crossed = _order(estimator, names, columns)
    return Layout(columns, named=True, order=order, crossed=crossed), frame


def _infer_array(estimator: Any, rows: pd.DataFrame | Array) -> tuple[Layout, pd.DataFrame]:
    array = _numbers_of(rows) if isinstance(rows, pd.DataFrame) else np.asarray(rows)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise BadRows(
            f"expected rows of numbers, shape (rows, features), but they are {array.dtype} of shape {array.shape}; "
            f"train on a data frame if columns have different types"
        )
    expected = getattr(estimator, "n_features_in_", array.shape[1])
    if array.shape[1] != expected:
        names = f": {_some(list(map(str, rows.columns)))}; {LEFT_OUT}" if isinstance(rows, pd.DataFrame) else ""
        raise BadRows(f"the pipeline was trained on {expected} features, but the rows have {array.shape[1]}{names}")
    frame = pd.DataFrame(array.astype(np.float64), columns=[str(place) for place in range(array.shape[1])])
    columns = tuple(Column(str(name), "number", double=_beyond_single(frame[name])) for name in frame.columns)
    return Layout(columns, named=False, order={FEATURES: tuple(range(len(columns)))}), frame


def _numbers_of(rows: pd.DataFrame) -> Array:
    """A frame's numbers, (rows, features) float64, for a pipeline without column names. Raises BadRows for texts."""
    others = [str(name) for name, dtype in rows.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
    if others:
        raise BadRows(
            f"the pipeline was trained on an array of numbers and knows no names, but the rows have columns that are "
            f"no numbers: {_some(others)}; {LEFT_OUT}"
        )
    return rows.to_numpy(np.float64, na_value=np.nan)


def _column(name: str, values: "pd.Series[Any]", *, text: bool) -> Column:
    """The description of one of the sample's columns; `text`: it was text in training."""
    dtype, gap = values.dtype, next(iter(kinds_of(values)), natural(values.dtype))
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if text and values.isna().all():
        return Column(name, "string", gap=gap)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_integer_dtype(dtype):
        return Column(name, "number", whole=True, double=_beyond_single(values))
    if pd.api.types.is_float_dtype(dtype):
        return Column(name, "number", double=_beyond_single(values))
    present = values.dropna()
    if isinstance(dtype, pd.StringDtype) or all(isinstance(value, str) for value in present):
        return Column(name, "string", gap=gap)
    if all(isinstance(value, bool | np.bool_) for value in present):  # read_csv's booleans with missing values
        return Column(name, "number", whole=True, gap=gap)
    raise BadRows(
        f"column {name!r} holds {values.dtype} values such as {present.iloc[0]!r}: "
        f"a graph takes numbers and text; turn it into one of them before the pipeline"
    )


def _beyond_single(values: "pd.Series[Any]") -> bool:
    """Whether rounding to float32 changes a whole number, or other numbers by more than LOST_MAX of their range."""
    numbers = values.astype(object).to_numpy(np.float64, na_value=np.nan)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return False
    with np.errstate(over="ignore"):
        lost = float(np.abs(numbers - numbers.astype(np.float32)).max())
    if np.array_equal(numbers, np.round(numbers)):
        return lost > 0
    return lost > LOST_MAX * float(np.ptp(numbers))


def _order(
    estimator: Any, names: Sequence[str], columns: Sequence[Column]
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Tensor → positions in `columns`: in the pipeline's order, unless a branch takes the whole tensor in another.

    Also returns the tensors that several branches take as a whole in different orders.
    """
    kinds: list[Kind] = [kind for kind in TENSOR_OF if any(column.kind == kind for column in columns)]
    place = {column.name: position for position, column in enumerate(columns)}
    made: dict[str, tuple[int, ...]] = {}
    crossed = list[str]()
    for kind in kinds:
        tensor = FEATURES if kinds == ["number"] else TENSOR_OF[kind]
        order = tuple(position for position, column in enumerate(columns) if column.kind == kind)
        wholes = {
            taken
            for transformer in front_transformers(estimator)
            for _, positions in branches(transformer)
            if len(taken := tuple(p for p in (place[names[q]] for q in positions) if columns[p].kind == kind))
            == len(order)
        }
        made[tensor] = order
        if len(wholes) > 1 or any(set(taken) != set(order) for taken in wholes):
            crossed.append(tensor)
        elif wholes:
            made[tensor] = wholes.pop()
    return made, tuple(crossed)


def _texts(values: "pd.Series[Any]", column: Column) -> Array:
    texts = values.astype(object).to_numpy(dtype=object)
    gaps = values.isna().to_numpy()
    if gaps.any():
        if column.missing is None:
            raise BadRows(f"column {column.name!r} has a gap in row {int(gaps.argmax())}, but gaps are not accepted")
        texts = np.where(gaps, column.missing, texts)
    return texts


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
