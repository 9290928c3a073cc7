"""Matrix products with constant weights: the only nodes of such graphs that have something to quantize. Knows ONNX."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx

from skylane.convert.export.candidates.registry import NotApplicable
from skylane.convert.export.onnx_graph import operators

OPERATORS: Final = ("MatMul", "Gemm")

FLOAT_MAKERS: Final = ("Scaler", "Imputer", "Normalizer")

PREPARED: Final = "onnx.quant.pre_process"
"""Metadata that tells the quantizer not to ask for preparation, which changes nothing in these graphs."""

SMALL_BYTES: Final = 64 * 1024
"""Below, weights stay in the cache, and int8 was never faster than single precision: to quantize costs more than the
product itself (measured on AVX2, networks of 64-128-64 and smaller)."""

FLOAT_TYPE: Final = onnx.TensorProto.FLOAT
FLOAT: Final = {"DefaultTensorType": FLOAT_TYPE}
"""Behind operators of ai.onnx.ml the types of values are not inferred; products here are of floats."""


def products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes that multiply by constant weights, in the order in which they run. Nameless ones are given a name."""
    constant = {weight.name for weight in model.graph.initializer if weight.data_type == onnx.TensorProto.FLOAT}
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS and node.input[1] in constant]
    for place, node in enumerate(nodes):
        node.name = node.name or f"product {place}"
    return nodes


def weight_bytes(model: onnx.ModelProto) -> int:
    """What the weights of all products take, in single precision."""
    names = {node.input[1] for node in products(model)}
    return sum(4 * _elements(weight) for weight in model.graph.initializer if weight.name in names)


def quantizable(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The products of a graph. Raises NotApplicable if there is none."""
    nodes, counts = products(model), operators(model)
    if not nodes:
        has_products = any(counts[operator] for operator in OPERATORS)
        reason = "no matrix product has constant weights" if has_products else "the graph has no matrix product"
        raise NotApplicable(f"0 of {counts.total()} nodes can be quantized: {reason}")
    return nodes


def inner(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Names of the first and the last product, which stay as they are. Raises NotApplicable if none is between."""
    if len(nodes) < 3:
        raise NotApplicable(f"there is no inner layer: the graph has {len(nodes)} matrix products")
    return [nodes[0].name, nodes[-1].name]


def worth_it(model: onnx.ModelProto) -> None:
    """Raise NotApplicable if the weights are too small to win anything."""
    size = weight_bytes(model)
    if size < SMALL_BYTES:
        raise NotApplicable(f"the weights have {size / 1024:.0f} KiB: below {SMALL_BYTES // 1024} int8 is no faster")


def rewritten(model: onnx.ModelProto, quantize: Callable[[onnx.ModelProto, Path], Any]) -> onnx.ModelProto:
    """What ONNX Runtime's quantizer makes of a model; it writes files. Raises NotApplicable if it fails."""
    model.metadata_props.add(key=PREPARED, value="onnxruntime.quant")
    for node in model.graph.node:
        if node.op_type in FLOAT_MAKERS:  # what an operator of ai.onnx.ml answers is not inferred, and then left out
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(node.output[0], FLOAT_TYPE, None))
    with tempfile.TemporaryDirectory() as directory, _quiet():
        path = Path(directory) / "quantized.onnx"
        try:
            quantize(model, path)
        except Exception as error:  # the quantizer raises what it happens to trip over
            raise NotApplicable(f"the quantizer fails: {' '.join(str(error).split())[:160]}") from error
        quantized: onnx.ModelProto = onnx.load_model(path)
    del quantized.metadata_props[:]
    quantized.producer_name, quantized.producer_version = "skylane", ""
    return quantized


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer talks to the root logger about what it leaves as it is; the candidate's note says that."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _elements(weight: onnx.TensorProto) -> int:
    count = 1
    for size in weight.dims:
        count *= size
    return count
