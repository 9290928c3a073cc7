"""What every test of tree emitters asks: the graph and the library, about rows on both sides of every threshold."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from skylane.convert.export.emitters import emit
from skylane.convert.export.onnx_graph import operators
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import Array, NumberType, infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.verification.answers import Answers, by_estimator, by_graph
from skylane.convert.verification.parity import difference, flips

WAYS: tuple[tuple[NumberType, NumberType], ...] = (
    ("float32", "float32"),
    ("float64", "float32"),
    ("float64", "float64"),
)
"""How numbers come in, and how they are computed."""


def around(rows: Array, cuts: Iterator[tuple[int, float]]) -> Array:
    """A row for each (column, number): with that number there, with the next larger, and with the next smaller."""
    random, made = np.random.default_rng(0), []
    for column, cut in cuts:
        for there in (np.nextafter(cut, -np.inf), cut, np.nextafter(cut, np.inf)):
            row = rows[random.integers(len(rows))].copy()
            row[column] = there
            made.append(row)
    return np.array(made).reshape(-1, rows.shape[1])


def cuts_of(trees: Any, scale: Any = None) -> Iterator[tuple[int, float]]:
    """Where scikit-learn's trees cut: feature and number; of scaled features, about there."""
    for tree in trees:
        inner = tree.tree_.children_left >= 0
        for feature, cut in zip(tree.tree_.feature[inner], tree.tree_.threshold[inner], strict=True):
            if not np.isfinite(cut):
                continue
            if scale is None:
                for near in (cut, np.nextafter(np.float32(cut), np.float32(-np.inf)), np.float32(cut)):
                    yield int(feature), float(near)
                # The middle between two numbers of four bytes is where rounding turns.
                yield int(feature), (float(np.float32(cut)) + float(np.nextafter(np.float32(cut), np.float32(9e9)))) / 2
            else:
                yield int(feature), float(cut * scale.scale_[feature] + scale.mean_[feature])


def with_ends(rows: Array, *, infinite: bool) -> Array:
    """The rows, and each column empty, and perhaps without end."""
    ends = (np.nan, np.inf, -np.inf) if infinite else (np.nan,)
    made = [np.where(np.eye(rows.shape[1], dtype=np.bool_), end, rows[: rows.shape[1]]) for end in ends]
    return np.vstack([rows, *made, np.full((1, rows.shape[1]), np.nan)])


def compare(
    estimator: Any,
    sample: Any,
    rows: Any,
    numbers: NumberType,
    precision: NumberType,
    *,
    in_one_node: bool = False,
) -> tuple[Answers, Answers, dict[str, int]]:
    """What the library says to the rows, what our graph says, and the graph's operators."""
    layout, _ = infer(estimator, sample)
    frame = infer(estimator, rows)[1]
    for column in layout.columns:
        layout = layout.with_missing({column.name: np.nan if column.kind == "number" else "a gap"
                                      for column in layout.columns})  # fmt: skip
    model = emit(estimator, layout, numbers, task := task_of(estimator), precision, in_one_node=in_one_node)
    session = Session(model.SerializeToString())
    expected = by_estimator(estimator, layout, frame, task)
    return expected, by_graph(session.named(layout.tensors(frame, numbers))), dict(operators(model))


def assert_same(expected: Answers, actual: Answers, allowed: float = 1e-6) -> None:
    """Numbers as near as their precision lets them be, and the same labels."""
    gaps = difference(expected, actual)
    size = 1.0 if expected.numbers is None else max(1.0, float(np.nanmax(np.abs(expected.numbers))))
    assert gaps.max(initial=0.0) <= allowed * size, f"row {int(gaps.argmax())} is off by {gaps.max()}"
    assert not flips(expected, actual).any()


def frame_of(rows: Array) -> pd.DataFrame:
    """The rows as a frame with names."""
    return pd.DataFrame(rows, columns=[f"x{place}" for place in range(rows.shape[1])])
