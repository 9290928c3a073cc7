"""The interface of candidates, and the list of all. How each is made is in the other modules."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
import pandas as pd

from skylane.convert.errors import Defective, Unconvertible
from skylane.convert.export.emitters.emit import emit, knows
from skylane.convert.export.export import export
from skylane.convert.export.onnx_graph import fuse_products
from skylane.convert.export.skl2onnx_patches import Overdue
from skylane.convert.inspection.schema import Array, Layout, NumberType
from skylane.convert.inspection.structure import Task, has_trees, tree_nodes

NODES_LARGE: Final = 300_000
"""Nodes of all trees together. For each million, skl2onnx takes 10 s and our emitters 2.5 s (measured)."""

EXPORT_S_MAX: Final = 10.0
"""Time limit for skl2onnx if our emitters have made a graph: a thousand quantiles take skl2onnx minutes."""

OVERDUE: Final = f"skl2onnx takes longer than {EXPORT_S_MAX:.0f} s over it: only graphs of our own are made"


class NotApplicable(Exception):
    """This candidate does not apply to this pipeline; the message gives the reason, for the report."""


@dataclass(frozen=True)
class Built:
    """A graph to be verified and timed."""

    content: bytes
    numbers: NumberType
    """Type of its numeric inputs."""
    note: str
    """What was changed, as one sentence without a full stop."""
    quantized_nodes: int = 0


@dataclass(frozen=True)
class Source:
    """The pipeline, and what candidates are made from it."""

    estimator: Any
    layout: Layout
    task: Task
    frame: pd.DataFrame
    """The held-out rows."""
    _exported: dict[NumberType, onnx.ModelProto] = field(default_factory=dict)
    _emitted: dict[tuple[NumberType, NumberType, int | None, bool], bytes | Unconvertible] = field(default_factory=dict)

    _overdue: list[NumberType] = field(default_factory=list)

    def exported(self, numbers: NumberType) -> onnx.ModelProto:
        """A copy of skl2onnx's graph, which takes numbers of this type.

        Raises Unconvertible, and NotApplicable if it would take long and our emitters have made a graph.
        """
        if numbers == "float64" and has_trees(self.estimator):
            raise Unconvertible("decision trees round their input to single precision, so doubles would gain nothing")
        if self.large and self._has_emitted:
            raise NotApplicable(f"{self.large}, which skl2onnx takes long over: only graphs of our own are made")
        if self._has_emitted and self._overdue:
            raise NotApplicable(OVERDUE)
        if numbers not in self._exported:
            until = time.monotonic() + EXPORT_S_MAX if self._has_emitted else None
            try:
                self._exported[numbers] = export(self.estimator, self.layout, numbers, self.task, until)
            except Overdue:
                self._overdue.append(numbers)  # another type would be no faster
                raise NotApplicable(OVERDUE) from None
        return _copy(self._exported[numbers])

    def emitted(
        self,
        numbers: NumberType,
        precision: NumberType,
        nodes_max: int | None = None,
        *,
        in_one_node: bool = False,
    ) -> bytes:
        """The graph of our own emitters, which takes numbers of one type and computes in the other.

        `nodes_max`: forests with more nodes than this are split. `in_one_node`: label and probabilities come from one
        node.

        Raises Unconvertible, also if an emitter fails: there are other candidates, and the report gives the reason.
        """
        key = numbers, precision, nodes_max, in_one_node
        if not self._emitted and not knows(self.estimator):
            raise Unconvertible("no step of the pipeline has an emitter of its own")
        if key not in self._emitted:
            try:
                model = emit(
                    self.estimator, self.layout, numbers, self.task, precision, nodes_max, in_one_node=in_one_node
                )
                self._emitted[key] = model.SerializeToString(deterministic=True)
            except Unconvertible as error:
                self._emitted[key] = error  # kept, because a large forest takes seconds to fail
            except Exception as error:  # a setting that the emitter was not tested with can raise anything
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                self._emitted[key] = Defective(f"the emitter fails: {reason}")
        result = self._emitted[key]
        if isinstance(result, Unconvertible):
            raise result
        return result

    @property
    def large(self) -> str | None:
        """The reason to skip candidates that gain nothing for large forests; None if the forest is not large."""
        return f"its trees have {count} nodes" if (count := self.tree_nodes) > NODES_LARGE else None

    @property
    def tree_nodes(self) -> int:
        """Number of nodes in all of scikit-learn's decision trees."""
        return tree_nodes(self.estimator)

    @property
    def _has_emitted(self) -> bool:
        return any(isinstance(result, bytes) for result in self._emitted.values())

    def single(self) -> onnx.ModelProto:
        """A copy of the best float32 graph: our own, else skl2onnx's with its products fused."""
        try:
            return onnx.load_from_string(self.emitted("float32", "float32"))
        except Unconvertible:
            model = self.exported("float32")
            fuse_products(model)
            return model

    def sample(self, rows_max: int, numbers: NumberType) -> dict[str, Array]:
        """Evenly spaced held-out rows, at most half of them, as the graph's inputs, for calibration."""
        count = max(1, min(rows_max, len(self.frame) // 2))
        places = np.linspace(0, len(self.frame) - 1, count).astype(int)
        return self.layout.tensors(self.frame.iloc[places], numbers)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@dataclass(frozen=True)
class Recipe:
    """One way to make a graph of a pipeline."""

    name: str
    build: Callable[[Source], Built]
    """Raises NotApplicable or Unconvertible."""
    quantized: bool


RECIPES: list[Recipe] = []
"""In the order in which they are tried and shown; of equally good ones the first wins."""


def candidate(
    name: str, *, quantized: bool = False
) -> Callable[[Callable[[Source], Built]], Callable[[Source], Built]]:
    """Register a function as a candidate."""

    def add(build: Callable[[Source], Built]) -> Callable[[Source], Built]:
        RECIPES.append(Recipe(name, build, quantized))
        return build

    return add
