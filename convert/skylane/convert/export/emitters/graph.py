"""An ONNX graph while it is built: nodes and constants, named after the steps they come from. Knows no estimator."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DType = Literal["float32", "float64", "int64", "bool", "string"]

ELEMENT: Final[dict[DType, int]] = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}

ATTRIBUTE: Final = {
    "i": (onnx.AttributeProto.INTS, "ints"),
    "f": (onnx.AttributeProto.FLOATS, "floats"),
    "S": (onnx.AttributeProto.STRINGS, "strings"),
}
"""Kind of an array's numbers → type and field of an ONNX attribute that holds them."""

OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
"""The newest versions that every ONNX Runtime since 1.15 supports."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph, (rows, width), or (rows) where the width is None."""

    name: str
    dtype: DType
    width: int | None


class Graph:
    """Collects nodes; equal nodes and equal constants are made once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._weights: list[onnx.TensorProto] = []
        self._made: dict[bytes, tuple[str, ...]] = {}
        self._path: list[str] = []
        self._named: Counter[str] = Counter()
        self._opsets: dict[str, int] = dict(OPSETS)

    @property
    def path(self) -> str:
        """The step that is being emitted: the names of the steps that it is nested in, then its own."""
        return "/".join(self._path)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Nodes added inside this context belong to this step; without a name, to the enclosing one."""
        outer = self._path
        self._path = [*outer, name] if name else outer
        try:
            yield
        finally:
            self._path = outer

    def node(
        self,
        op: str,
        inputs: Sequence[Tensor | str],
        dtype: DType,
        width: int | None,
        *,
        domain: str = "",
        opset: int | None = None,
        **attributes: Any,
    ) -> Tensor:
        """Add a node with one output of this type and width. `opset`: the oldest version of its domain that has it."""
        (name,) = self.nodes(op, inputs, 1, domain=domain, opset=opset, **attributes)
        return Tensor(name, dtype, width)

    def nodes(
        self,
        op: str,
        inputs: Sequence[Tensor | str],
        outputs: int,
        *,
        domain: str = "",
        opset: int | None = None,
        **attributes: Any,
    ) -> tuple[str, ...]:
        """Add a node with several outputs, and return their names."""
        names = [item.name if isinstance(item, Tensor) else item for item in inputs]
        plain = {key: value for key, value in attributes.items() if value is not None}
        arrays = {key: plain.pop(key) for key in sorted(plain) if isinstance(plain[key], np.ndarray)}
        node = helper.make_node(op, names, [], domain=domain, **plain)
        for attribute, values in arrays.items():  # not by make_node, which checks the type of each number
            kind, field = ATTRIBUTE[values.dtype.kind]
            getattr(node.attribute.add(name=attribute, type=kind), field).extend(values.tolist())
        key = hashlib.sha256(node.SerializeToString(deterministic=True) + bytes([outputs])).digest()
        if key not in self._made:
            self._opsets[domain] = max(self._opsets.get(domain, 1), opset or 1)
            node.name = self._fresh(op)
            made = [node.name] if outputs == 1 else [f"{node.name}:{place}" for place in range(outputs)]
            node.output.extend(made)
            self._nodes.append(node)
            self._made[key] = tuple(made)
        return self._made[key]

    def constant(self, values: Any, dtype: DType | None = None) -> str:
        """The name of an initializer with these values, converted to the type if one is given."""
        array = np.asarray(values, dtype=object if dtype == "string" else dtype)
        if array.dtype.kind in "OUS":
            array = array.astype(object)
            content = "\0".join(map(str, array.ravel())).encode()
        else:
            array = np.ascontiguousarray(array).reshape(array.shape)
            content = array.tobytes()
        key = (str(array.dtype), array.shape, content)
        if key not in self._constants:
            name = self._fresh("constant")
            self._weights.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def splice(self, part: onnx.ModelProto, inputs: Sequence[Tensor]) -> list[str]:
        """Add another graph's nodes, with these tensors as its inputs in order; return the names of its outputs."""
        prefix = f"{self._fresh(part.graph.name or 'part')}/"
        prefixed = onnx.compose.add_prefix(part, prefix)
        for value, tensor in zip(prefixed.graph.input, inputs, strict=True):
            # ONNX Runtime removes these when it loads the graph. Renaming would miss names in the bodies of loops.
            self._nodes.append(helper.make_node("Identity", [tensor.name], [value.name], name=f"{value.name}/Identity"))
        for node in prefixed.graph.node:
            node.name = f"{prefix}{node.op_type}:{len(self._nodes)}"
            self._nodes.append(node)
        self._weights.extend(prefixed.graph.initializer)
        for opset in prefixed.opset_import:
            self._opsets[opset.domain] = max(self._opsets.get(opset.domain, 1), opset.version)
        return [output.name for output in prefixed.graph.output]

    def model(self, inputs: Sequence[Tensor], outputs: Sequence[tuple[str, Tensor]]) -> onnx.ModelProto:
        """The finished graph, with its outputs under these names. It still has nodes that no output needs."""
        model = helper.make_model(
            helper.make_graph(
                [],
                "skylane",
                [_declared(tensor.name, tensor) for tensor in inputs],
                [_declared(name, tensor) for name, tensor in outputs],
                self._weights,
            ),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(self._opsets.items())],
            producer_name="skylane",
        )
        model.ir_version = 10
        nodes = model.graph.node
        nodes.extend(self._nodes)  # copied once: a forest's nodes can be hundreds of megabytes
        made = {name for names in self._made.values() for name in names}
        renamed = dict[str, str]()
        for name, tensor in outputs:
            if tensor.name in renamed or tensor.name not in made:  # a spliced loop may refer to it by this name
                nodes.append(helper.make_node("Identity", [tensor.name], [name], name=f"{name}/Identity"))
            else:
                renamed[tensor.name] = name
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]
        return model

    def _fresh(self, kind: str) -> str:
        name = f"{self.path}/{kind}" if self._path else kind
        self._named[name] += 1
        return name if self._named[name] == 1 else f"{name}.{self._named[name]}"


def _declared(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, ELEMENT[tensor.dtype], [None] if tensor.width is None else [None, tensor.width]
    )
