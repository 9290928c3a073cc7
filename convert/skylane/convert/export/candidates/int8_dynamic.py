"""Weights as bytes, activations quantized while the graph runs.

Only matrix products have weights that ONNX Runtime's quantizer can turn into bytes: the operators that skl2onnx uses
for linear models and trees have none. The scaler in front stays as it is: folded into the first product, one scale
would have to serve all raw features, and accuracy collapses (digits: 0.908 → 0.849, measured).
"""

from collections.abc import Sequence

import onnx

from skylane.convert.export.candidates.quantizer import QuantType, quantize_dynamic
from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.export.matrix_products import FLOAT, OPERATORS, inner, quantizable, rewritten, worth_it
from skylane.convert.export.onnx_graph import fuse_products, operators


@candidate("int8 dynamic", quantized=True)
def int8_dynamic(source: Source) -> Built:
    """Signed bytes for each output channel: on CPUs without VNNI faster than unsigned ones (measured)."""
    model = source.exported("float32")
    fuse_products(model)
    quantizable(model)
    return _built(model, ())


@candidate("int8 dynamic, inner", quantized=True)
def int8_dynamic_inner(source: Source) -> Built:
    """The first and the last product stay in single precision: a third of the changed labels, half of the gain."""
    model = source.exported("float32")
    fuse_products(model)
    kept = inner(quantizable(model))
    worth_it(model)
    return _built(model, kept)


def _built(model: onnx.ModelProto, kept: Sequence[str]) -> Built:
    before = operators(model).total()
    quantized = rewritten(
        model,
        lambda model, path: quantize_dynamic(
            model,
            path,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            # The quantizer takes each Gemm apart first, and gives the product a name of its own.
            nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
            extra_options=dict(FLOAT),
        ),
    )
    touched = operators(quantized)["MatMulInteger"]
    if not touched:
        raise NotApplicable(f"0 of {before} nodes can be quantized: no matrix product has constant weights")
    left = f", the first and the last of {touched + len(kept)} products left as they are" if kept else ""
    return Built(
        quantized.SerializeToString(deterministic=True),
        "float32",
        f"{touched} of {before} nodes quantized, the scaler kept{left}",
        quantized_nodes=touched,
    )
