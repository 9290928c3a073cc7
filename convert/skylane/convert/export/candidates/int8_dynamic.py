"""Dynamic quantization: int8 weights, and activations that are quantized while the graph runs.

ONNX Runtime's quantizer supports only the weights of matrix products; skl2onnx's operators for linear models and trees
have none. The scaler is not folded into the first product, because one scale would have to cover all raw features, and
accuracy would collapse (digits: 0.908 → 0.849, measured).
"""

from collections.abc import Sequence

import onnx

from skylane.convert.export.candidates.quantizer import QuantType, quantize_dynamic
from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.export.matrix_products import FLOAT, OPERATORS, inner, quantizable, rewritten, worth_it
from skylane.convert.export.onnx_graph import fuse_products, operators


@candidate("int8 dynamic", quantized=True)
def int8_dynamic(source: Source) -> Built:
    """Signed weights, one scale for each output channel: faster than unsigned ones on CPUs without VNNI (measured)."""
    model = source.exported("float32")
    fuse_products(model)
    quantizable(model)
    return _built(model, ())


@candidate("int8 dynamic, inner", quantized=True)
def int8_dynamic_inner(source: Source) -> Built:
    """The first and the last product stay float32: a third of the changed labels, half of the speed-up."""
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
            # The quantizer first splits each Gemm, and gives its product this name.
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
