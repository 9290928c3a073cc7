"""Weights as bytes, activations quantized while the graph runs.

Only matrix products have weights that ONNX Runtime's quantizer can turn into bytes: the operators that skl2onnx uses
for linear models and trees have none. The scaler in front stays as it is: folded into the first product, one scale
would have to serve all raw features, and accuracy collapses (digits: 0.908 → 0.849, measured).
"""

import tempfile
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from convert.candidates.registry import Built, NotApplicable, Source, candidate
from convert.graph import operators

WITH_WEIGHTS: Final = ("MatMul", "Gemm")
PREPARED: Final = "onnx.quant.pre_process"
"""Metadata that tells the quantizer not to ask for preparation, which changes nothing in these graphs."""


@candidate("int8 dynamic", quantized=True)
def int8_dynamic(source: Source) -> Built:
    """Signed bytes for each output channel: on CPUs without VNNI faster than unsigned ones (measured)."""
    model = source.exported("float32")
    before = operators(model)
    products = sum(before[operator] for operator in WITH_WEIGHTS)
    if not products:
        raise NotApplicable(f"0 of {before.total()} nodes can be quantized: the graph has no matrix product")
    quantized = _quantized(model)
    touched = operators(quantized)["MatMulInteger"]
    if not touched:
        raise NotApplicable(f"0 of {before.total()} nodes can be quantized: no matrix product has constant weights")
    return Built(
        quantized.SerializeToString(deterministic=True),
        "float32",
        f"{touched} of {before.total()} nodes quantized",
        quantized_nodes=touched,
    )


def _quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    model.metadata_props.add(key=PREPARED, value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "quantized.onnx"
        try:
            quantize_dynamic(
                model,
                path,
                op_types_to_quantize=list(WITH_WEIGHTS),
                per_channel=True,
                weight_type=QuantType.QInt8,
                # Behind operators of ai.onnx.ml the types of values are not inferred; products here are of floats.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        except Exception as error:  # the quantizer raises what it happens to trip over
            raise NotApplicable(f"the quantizer fails: {' '.join(str(error).split())[:160]}") from error
        quantized: onnx.ModelProto = onnx.load_model(path)
    del quantized.metadata_props[:]
    quantized.producer_name, quantized.producer_version = "skylane", ""
    return quantized
