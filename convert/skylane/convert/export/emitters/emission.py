"""One graph while it is built: which emitter writes which step, and how deferred arithmetic becomes nodes."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier

from skylane.convert.errors import Refused, Unconvertible
from skylane.convert.export.emitters.fallback import by_skl2onnx
from skylane.convert.export.emitters.features import Features, Part
from skylane.convert.export.emitters.graph import DType, Graph, Tensor
from skylane.convert.export.emitters.registry import Declined, Method, emitters_of, one_node_of
from skylane.convert.inspection.schema import Array, NumberType

DENSE_MAX: Final = 2**26
"""Numbers that a sparse matrix may have as a dense array: half a gigabyte."""

LOST_MAX: Final = 2.0**-22
"""Largest rounding error, in standard deviations, of folding a centre into a product; above, it is subtracted first."""


class Outdated(Exception):
    """The graph needs the newer tree operator; see `Emission.trees`."""


class Emission:
    """Calls the emitters, or skl2onnx where there is none. Steps compute in `precision`, whatever the input's type."""

    def __init__(
        self,
        precision: NumberType,
        trees: Literal[3, 5] = 5,
        nodes_max: int | None = None,
        in_one_node: Any = None,
    ) -> None:
        self.precision = precision
        self.trees = trees
        """The version of ai.onnx.ml whose tree operators the graph uses."""
        self.nodes_max = nodes_max
        """Tree nodes that one ONNX node may hold, if it holds several trees; None: any number."""
        self.in_one_node = in_one_node
        """A classifier whose label and probabilities come from one node; None: each is emitted on its own."""
        self.label: Tensor | None = None
        """That node's label: the class itself, not its index."""
        self.graph = Graph()
        self.own: set[str] = set()
        """Names of the families that our emitters wrote."""
        self.others: set[str] = set()
        """Names of the families that skl2onnx wrote."""
        self.sparse = False
        """Whether scikit-learn would pass sparse rows to the step that is being emitted."""
        self._emitted_features: dict[tuple[int, Method, int], Features] = {}
        self._dense: dict[int, Any] = {}
        self._referenced: list[Any] = []  # keeps the objects alive whose id() is a key

    def emit(self, estimator: Any, method: Method, features: Features, *, step: str | None = None) -> Features:
        """The output of the estimator's method for these features. Raises Unconvertible, naming the step."""
        key = (id(estimator), method, id(features))
        if key not in self._emitted_features:
            name = type(estimator).__name__ if step is None else step
            with self.graph.step(name):
                self._emitted_features[key] = self._emitted(estimator, method, features)
            self._referenced.extend((estimator, features))
        return self._emitted_features[key]

    @contextmanager
    def rows(self, *, sparse: bool) -> Iterator[None]:
        """Steps emitted inside this context get rows that are sparse in scikit-learn, or are not."""
        before, self.sparse = self.sparse, sparse
        try:
            yield
        finally:
            self.sparse = before

    def _emitted(self, estimator: Any, method: Method, features: Features) -> Features:
        if estimator is self.in_one_node and method in ("predict", "predict_proba"):
            return self._in_one_node(estimator, method, features)
        estimator = self._densified(estimator)
        for emitter in emitters_of(type(estimator), method):
            try:
                output = emitter(estimator, features, self)
            except Declined:
                continue
            self.own.add(type(estimator).__name__)
            return output
        if method == "predict" and is_classifier(estimator):
            return self._decided(estimator, features)
        if features.width == 0:
            raise Unconvertible(f"the step {self.graph.path} gets no columns")
        self.others.add(type(estimator).__name__)
        return by_skl2onnx(estimator, method, features, self)

    def _densified(self, estimator: Any) -> Any:
        """A copy of the estimator whose sparse matrices, such as training rows, are dense; itself if it has none."""
        kept = {name: value for name, value in vars(estimator).items() if issparse(value)}
        if not kept:
            return estimator
        if id(estimator) not in self._dense:
            for value in kept.values():
                if np.prod(value.shape, dtype=np.float64) > DENSE_MAX:
                    raise Refused(
                        f"the step {self.at} keeps a matrix of {value.shape[0]} rows and {value.shape[1]} columns, "
                        f"mostly empty, which a graph would hold in full: reduce the columns before it, such as with "
                        f"TruncatedSVD, or use a model that keeps no training rows"
                    )
            self._dense[id(estimator)] = copy.copy(estimator)
            vars(self._dense[id(estimator)]).update({name: value.toarray() for name, value in kept.items()})
            self._referenced.append(estimator)
        return self._dense[id(estimator)]

    @property
    def at(self) -> str:
        """The step that is being emitted, for messages."""
        return self.graph.path or "that the pipeline begins with"

    def _in_one_node(self, classifier: Any, method: Method, features: Features) -> Features:
        make = one_node_of(type(classifier))
        assert make is not None, "only families that have such a node are emitted in one node"
        try:
            self.label, probabilities = make(classifier, features, self)
        except Declined as why:
            raise Unconvertible(str(why)) from None
        self.own.add(type(classifier).__name__)
        outputs: dict[Method, Features] = {
            "predict": Features.of(self.label),
            "predict_proba": Features.of(probabilities),
        }
        for other, output in outputs.items():
            self._emitted_features[id(classifier), other, id(features)] = output
        return outputs[method]

    def _decided(self, classifier: Any, features: Features) -> Features:
        """Indices of the likeliest classes: how most classifiers predict."""
        method: Method = "predict_proba" if hasattr(classifier, "predict_proba") else "decision_function"
        return self.likeliest(self.emit(classifier, method, features, step=""))

    def likeliest(self, scores: Features) -> Features:
        """The index of each row's largest number, the first of equal ones; for a single column, whether it is > 0."""
        if scores.width == 1:
            above = self.graph.node(
                "Greater", [self.vector(scores), self.graph.constant(0.0, self.precision)], "bool", None
            )
            return Features.of(self.cast(above, "int64"))
        return Features.of(self.graph.node("ArgMax", [self.tensor(scores)], "int64", None, axis=1, keepdims=0))

    def tensor(self, features: Features, dtype: DType | None = None) -> Tensor:
        """All deferred arithmetic as nodes: (rows, width) of this type, by default of `precision`.

        Texts, codes and booleans stay as they are. Sums and scales are computed in the type of the columns themselves.
        """
        plain = features.plain
        if plain is not None:
            return self.cast(plain, dtype) if dtype or plain.dtype in ("float32", "float64") else plain
        if features.matrix is not None:
            return self.cast(self._product(features), dtype)
        parts = [self._part(part) for part in features.parts]
        if len(parts) == 1:
            return self.cast(parts[0], dtype) if dtype or parts[0].dtype in ("float32", "float64") else parts[0]
        if all(part.dtype == "string" for part in parts):
            return self.graph.node("Concat", parts, "string", features.width, axis=1)
        parts = [self.cast(part, dtype) for part in parts]
        return self.graph.node("Concat", parts, parts[0].dtype, features.width, axis=1)

    def settled(self, features: Features) -> Features:
        """The same with no deferred product."""
        return features if features.matrix is None else Features.of(self.tensor(features))

    def mixed(self, several: Sequence[Features], matrices: Sequence[Array]) -> Features:
        """The sum of each one times its matrix; products of the same columns are added before they become nodes."""
        alike = all(one.matrix is not None and one.parts == several[0].parts for one in several)
        return Features.mixed(several if alike else [self.settled(one) for one in several], matrices)

    def beside(self, several: Sequence[Features]) -> Features:
        """Concatenated; products of the same columns become one."""
        if len(several) == 1:
            return several[0]
        ends = np.cumsum([one.width for one in several])
        if any(one.matrix is None or one.parts != several[0].parts for one in several):
            return Features.joined([self.settled(one) for one in several])
        blocks = [np.eye(ends[-1])[end - one.width : end] for one, end in zip(several, ends, strict=True)]
        return Features.mixed(several, blocks)

    def exact(self, features: Features) -> Tensor:
        """As `tensor`, but float64 where the input is float64: for comparisons, and for filling missing values."""
        doubles = any(part.tensor.dtype == "float64" for part in features.parts)
        return self.tensor(features, "float64" if doubles else None)

    def vector(self, features: Features, dtype: DType | None = None) -> Tensor:
        """A single column as (rows)."""
        (part,) = features.parts if len(features.parts) == 1 else (None,)
        if part and part.tensor.width is None and not (part.steps or part.codes) and features.matrix is None:
            return self.cast(part.tensor, dtype)
        column = self.tensor(features, dtype)
        return self.graph.node("Squeeze", [column, self.graph.constant([1], "int64")], column.dtype, None)

    def cast(self, tensor: Tensor, dtype: DType | None = None) -> Tensor:
        """The same numbers in this type, by default in `precision`."""
        dtype = dtype or self.precision
        if tensor.dtype == dtype:
            return tensor
        if tensor.dtype == "string":
            raise Unconvertible(f"the step {self.at} takes numbers, but gets text")
        to = {"float32": 1, "float64": 11, "int64": 7, "bool": 9}[dtype]
        return self.graph.node("Cast", [tensor], dtype, tensor.width, to=to)

    def columns(self, part: Part) -> Tensor:
        """A part's columns, before its deferred steps."""
        if part.codes:
            categories = self.graph.constant(np.array([part.columns], dtype=np.int64))
            codes = self.graph.node("Unsqueeze", [part.tensor, self.graph.constant([1], "int64")], "int64", 1)
            same = self.graph.node("Equal", [codes, categories], "bool", part.width)
            return self.cast(same)
        if part.whole:
            return part.tensor
        if part.tensor.width is None:
            return self.graph.node("Unsqueeze", [part.tensor, self.graph.constant([1], "int64")], part.tensor.dtype, 1)
        columns = self.graph.constant(part.columns, "int64")
        return self.graph.node("Gather", [part.tensor, columns], part.tensor.dtype, part.width, axis=1)

    def _part(self, part: Part) -> Tensor:
        tensor = self.columns(part)
        if not part.steps:
            return tensor
        if tensor.dtype not in ("float32", "float64"):
            tensor = self.cast(tensor)
        for step in part.steps:
            by = self.graph.constant(step.by, tensor.dtype)
            tensor = self.graph.node(step.op, [tensor, by], tensor.dtype, tensor.width)
        return tensor

    def _product(self, features: Features) -> Tensor:
        """The sum of one matrix product for all numbers and, for each code, one row of a table."""
        assert features.matrix is not None
        assert features.offset is not None
        offset, terms, start = features.offset, list[Tensor](), 0
        numbers: list[tuple[Part, Array]] = []
        for part in features.parts:
            weights = features.matrix[start : start + part.width]
            start += part.width
            if not part.codes:
                numbers.append((part, weights))
                continue
            centre, slope, shift = part.affine()
            offset = offset + (shift - centre * slope) @ weights
            terms.append(self._table_rows(part, slope[:, None] * weights))
        if numbers:
            terms.insert(0, self._multiplied(numbers, offset))
        else:
            zero = self.graph.constant(offset[None, :], self.precision)
            terms.append(Tensor(zero, self.precision, features.width))
        if len(terms) == 1:
            return terms[0]
        return self.graph.node("Sum", terms, self.precision, features.width)

    def _table_rows(self, part: Part, weights: Array) -> Tensor:
        """The row of the weights for each code; zeros for the code that is no category."""
        table = np.zeros((part.codes + 1, weights.shape[1]))
        table[list(part.columns)] = weights
        rows = self.graph.constant(table, self.precision)
        return self.graph.node("Gather", [rows, part.tensor], self.precision, weights.shape[1], axis=0)

    def _multiplied(self, numbers: Sequence[tuple[Part, Array]], offset: Array) -> Tensor:
        tensors, matrices = list[Tensor](), list[Array]()
        for part, weights in numbers:
            centre, slope, shift = part.affine()
            with np.errstate(all="ignore"):
                matrix = np.where(slope[:, None] == 0, 0.0, slope[:, None] * weights)
            offset = offset + shift @ weights
            tensor = self.columns(part)
            if tensor.dtype not in ("float32", "float64"):
                tensor = self.cast(tensor)
            if self._loses_precision(centre, slope):
                by = self.graph.constant(centre, tensor.dtype)
                tensor = self.graph.node("Sub", [tensor, by], tensor.dtype, tensor.width)
            else:
                offset = offset - centre @ matrix
            tensors.append(self.cast(tensor))
            matrices.append(matrix)
        stacked = np.concatenate(matrices)
        if len(tensors) > 1:
            tensors = [self.graph.node("Concat", tensors, self.precision, len(stacked), axis=1)]
        if not np.isfinite(stacked).all() or not np.isfinite(offset).all():
            raise Unconvertible(f"the step {self.graph.path} has weights that are not finite numbers")
        factors, added = self.graph.constant(stacked, self.precision), self.graph.constant(offset, self.precision)
        return self.graph.node("Gemm", [tensors[0], factors, added], self.precision, stacked.shape[1])

    def _loses_precision(self, centre: Array, slope: Array) -> bool:
        """Whether folding the centre into the product would lose more than LOST_MAX."""
        with np.errstate(all="ignore"):
            far = np.abs(centre * slope)
        return bool(np.nan_to_num(far).max(initial=0.0) * np.finfo(self.precision).eps > LOST_MAX)
