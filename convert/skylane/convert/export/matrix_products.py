"""Matrix products with constant weights: the only nodes of these graphs that can be quantized. Knows ONNX."""

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
"""Metadata that keeps the quantizer from asking for preprocessing, which changes nothing in these graphs."""

SMALL_BYTES: Final = 64 * 1024
"""Smaller weights stay in the cache, and int8 was never faster than float32: quantizing the input costs more than the
product itself (measured on AVX2, networks of 64-128-64 and smaller)."""

FLOAT_TYPE: Final = onnx.TensorProto.FLOAT
FLOAT: Final = {"DefaultTensorType": FLOAT_TYPE}
"""The type of values for which none is inferred, such as the outputs of ai.onnx.ml operators."""


def products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes that multiply by constant weights, in the order in which they run. Unnamed ones are given a name."""
    constant = {weight.name for weight in model.graph.initializer if weight.data_type == onnx.TensorProto.FLOAT}
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS and node.input[1] in constant]
    for place, node in enumerate(nodes):
        node.name = node.name or f"product {place}"
    return nodes


def weight_bytes(model: onnx.ModelProto) -> int:
    """Size of the weights of all products, as float32."""
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
    """Names of the first and the last product, which stay float32. Raises NotApplicable if there are no others."""
    if len(nodes) < 3:
        raise NotApplicable(f"there is no inner layer: the graph has {len(nodes)} matrix products")
    return [nodes[0].name, nodes[-1].name]


def worth_it(model: onnx.ModelProto) -> None:
    """Raise NotApplicable if the weights are too small for a speed-up."""
    size = weight_bytes(model)
    if size < SMALL_BYTES:
        raise NotApplicable(f"the weights have {size / 1024:.0f} KiB: below {SMALL_BYTES // 1024} int8 is no faster")


def rewritten(model: onnx.ModelProto, quantize: Callable[[onnx.ModelProto, Path], Any]) -> onnx.ModelProto:
    """The model as ONNX Runtime's quantizer, which writes files, changes it. Raises NotApplicable if it fails."""
    model.metadata_props.add(key=PREPARED, value="onnxruntime.quant")
    for node in model.graph.node:
        # Types of ai.onnx.ml operators are not inferred, and nodes without types are not quantized.
        if node.op_type in FLOAT_MAKERS:
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(node.output[0], FLOAT_TYPE, None))
    with tempfile.TemporaryDirectory() as directory, _quiet():
        path = Path(directory) / "quantized.onnx"
        try:
            quantize(model, path)
        except Exception as error:  # the quantizer raises errors of any type
            raise NotApplicable(f"the quantizer fails: {' '.join(str(error).split())[:160]}") from error
        quantized: onnx.ModelProto = onnx.load_model(path)
    del quantized.metadata_props[:]
    quantized.producer_name, quantized.producer_version = "skylane", ""
    return quantized


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer's warnings about nodes that it does not quantize; the candidate's note counts them."""
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
