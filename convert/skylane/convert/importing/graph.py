"""An ONNX file from any library → a graph that can be served, and its interface. Knows ONNX, no runtime and no rows.

Changes that do not affect answers make it servable: external data are embedded, a ZipMap is removed, and a batch
dimension of a fixed size is made dynamic. `verify` checks whether the changed graph still runs.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from skylane.convert.errors import Unconvertible, Unreadable
from skylane.convert.export.onnx_graph import operators, serialized
from skylane.convert.export.size_limits import GRAPH_BYTES_MAX
from skylane.convert.wording import one_line
from skylane.dtypes import DTYPES, DType
from skylane.manifest import TensorSpec

DTYPE_OF: Final[dict[int, DType]] = {
    TensorProto.BOOL: "bool",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.FLOAT16: "float16",
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.STRING: "string",
}
"""ONNX's number of an element type → our name, for those that can be served."""

NAME_LENGTH_MAX: Final = 200
"""Longest name of a tensor; the same limit as in a manifest."""

GIT_LFS: Final = b"version https://git-lfs"
"""Beginning of a Git LFS pointer, which stands for a large file that has not been fetched."""

CLASSIFIERS: Final = frozenset({"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", "ZipMap"})
REGRESSORS: Final = frozenset({"TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor"})


@dataclass(frozen=True)
class Graph:
    """An ONNX graph that can be run, with its interface."""

    content: bytes
    """The model as it will be published."""
    inputs: tuple[TensorSpec, ...]
    outputs: Mapping[str, tuple[int | None, ...] | None]
    """Name → declared shape, with None for dynamic sizes; None for outputs whose shape is not declared."""
    operators: frozenset[str]
    producer: str
    """The tool that produced it, in a few words."""
    sha256: str
    """SHA-256 of the original file."""
    classes: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Output of a removed ZipMap → the label of each of its columns."""
    changes: tuple[str, ...] = ()
    """What was changed, in words."""
    notes: tuple[str, ...] = ()
    opset: int = 18
    """Version of ONNX's own operators."""
    fixed_batch: int | None = None
    """The original size of the batch dimension, if it was fixed."""


def read_graph(path: Path) -> Graph:
    """Read an ONNX file. Raises Unreadable if it is no ONNX file, and Unconvertible naming what cannot be served."""
    content = _content(path)
    model = _parsed(path, content)
    changes = [*_embed(path, model), *_set_text_locale(model)]
    classes = _remove_zipmaps(model)
    changes += [f"ZipMap removed: {name!r} is a tensor with a column for each class" for name in classes]
    inputs = _real_inputs(model)
    for value in (*inputs, *model.graph.output):
        _check_value(value, "input" if value in inputs else "output")
    fixed = _open_batch(model, inputs)
    if fixed is not None:
        changes.append(f"batch dimension opened: it was fixed to {fixed}")
    used = frozenset(operators(model))
    return Graph(
        content=serialized(model) if changes else content,
        inputs=tuple(_spec(value) for value in inputs),
        outputs={value.name: _declared(value) for value in model.graph.output},
        operators=used | ({"ZipMap"} if classes else frozenset()),
        producer=_producer(model),
        sha256=hashlib.sha256(content).hexdigest(),
        classes=classes,
        changes=tuple(changes),
        notes=tuple(_on_defaults(model)),
        opset=next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 18),
        fixed_batch=fixed,
    )


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > GRAPH_BYTES_MAX:
            raise Unreadable(f"{path}: it has more than 2 GB, which no ONNX file holds")
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
    if content.startswith(GIT_LFS):
        raise Unreadable(f"{path}: it only stands for a file that git LFS keeps: fetch that with `git lfs pull`")
    return content


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise Unreadable(f"{path}: not an ONNX file") from error
    if not model.graph.output:
        raise Unreadable(f"{path}: not an ONNX file: it has no graph with an output")
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _embed(path: Path, model: onnx.ModelProto) -> list[str]:
    """Embed weights from files next to the graph."""
    names = sorted(
        {
            entry.value
            for tensor in _tensors(model.graph)
            if uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    if not names:
        return []
    try:
        size = sum((path.parent / name).stat().st_size for name in names)
        if size > GRAPH_BYTES_MAX:
            raise Unconvertible(
                f"{path}: its weights in {', '.join(names)} have {size / 1e9:.1f} GB, and a version's single ONNX file "
                f"holds 2.1 GB: export it in float16, or quantize it"
            )
        load_external_data_for_model(model, str(path.parent))
    except OSError as error:
        raise Unreadable(
            f"{path}: its weights are in {', '.join(names)}, which must lie beside it: {error.strerror}"
        ) from error
    except (ValueError, onnx.checker.ValidationError) as error:  # a path outside the directory, or a truncated file
        raise Unreadable(f"{path}: its weights in {', '.join(names)} cannot be read: {one_line(error)}") from error
    return [f"weights embedded from {', '.join(names)}"]


def _set_text_locale(model: onnx.ModelProto) -> list[str]:
    """Set the locale in which texts are lowered if none is set: slim images lack the default, en_US."""
    nodes = [node for node in model.graph.node if node.op_type == "StringNormalizer"]
    without_locale = [node for node in nodes if not any(attribute.name == "locale" for attribute in node.attribute)]
    for node in without_locale:
        node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return ["StringNormalizer uses the locale C.UTF-8"] if without_locale else []


def _remove_zipmaps(model: onnx.ModelProto) -> dict[str, tuple[str | int, ...]]:
    """Replace outputs that are lists of dictionaries by the tensors that these are made from."""
    classes: dict[str, tuple[str | int, ...]] = {}
    outputs = {value.name: value for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "ZipMap" or node.output[0] not in outputs:
            continue
        labels: list[str | int] = []
        for attribute in node.attribute:
            labels += [text.decode() for text in attribute.strings] or list(attribute.ints)
        name = node.output[0]
        outputs[name].CopyFrom(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, len(labels)]))
        node.CopyFrom(onnx.helper.make_node("Identity", list(node.input), [name], name=node.name))
        classes[name] = tuple(labels)
    if classes and not any(opset.domain in ("", "ai.onnx") for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("", 18))  # where Identity is
    return classes


def _real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that callers must send: old exporters list the weights among the inputs as well."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if not inputs:
        raise Unconvertible("the graph has no inputs: it gives the same answer to everybody")
    return inputs


def _on_defaults(model: onnx.ModelProto) -> Iterator[str]:
    """Inputs with a default value. Before IR version 4 every weight had to be listed as one."""
    if model.ir_version < 4:
        return
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name in constants]
    if names:
        yield f"inputs with a default value keep it, and cannot be sent: {', '.join(names[:20])}"


def _check_value(value: onnx.ValueInfoProto, what: str) -> None:
    """Raises Unconvertible, naming the input, unless it is a tensor with rows."""
    kind = value.type.WhichOneof("value")
    if not 1 <= len(value.name) <= NAME_LENGTH_MAX:
        raise Unconvertible(f"{what} {value.name[:40]!r}: its name must have 1 to {NAME_LENGTH_MAX} characters")
    if kind != "tensor_type":
        named = (kind or "unknown").removesuffix("_type")
        raise Unconvertible(
            f"{what} {value.name!r} is of the type {named}, and only tensors can be served: "
            f"{'export the graph without it' if named == 'optional' else 'export it as a tensor'}"
        )
    tensor = value.type.tensor_type
    if tensor.elem_type not in DTYPE_OF:
        name = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise Unconvertible(f"{what} {value.name!r} is {name}: expected one of {', '.join(DTYPES)}")
    if what == "output":
        return  # its shape is then taken from a run
    if not tensor.HasField("shape"):
        raise Unconvertible(f"input {value.name!r} has no declared shape: export the graph with one")
    if not tensor.shape.dim:
        raise Unconvertible(
            f"input {value.name!r} is a single value without a dimension for rows: make it a constant of the graph, "
            f"or an input of the shape (rows, 1)"
        )


def _open_batch(model: onnx.ModelProto, inputs: list[onnx.ValueInfoProto]) -> int | None:
    """Make the first dimension dynamic. Returns its fixed size; None if it was dynamic already."""
    first = [value.type.tensor_type.shape.dim[0] for value in inputs]
    fixed = [dim.dim_value for dim in first if dim.dim_value > 0]
    if not fixed:
        return None
    for value in (*inputs, *model.graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and shape.dim[0].dim_value == fixed[0]:
            shape.dim[0].dim_param = "batch"
    for dim in first:
        dim.dim_param = dim.dim_param or "batch"
    del model.graph.value_info[:]  # inferred shapes inside the graph contain the fixed size
    return fixed[0]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    sizes = _declared(value) or ()
    return TensorSpec(name=value.name, dtype=DTYPE_OF[value.type.tensor_type.elem_type], shape=(None, *sizes[1:]))


def _declared(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def _producer(model: onnx.ModelProto) -> str:
    tool = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    opsets = ", ".join(f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import)
    return f"ONNX graph made by {tool or 'an unknown tool'} (opset {opsets})"
