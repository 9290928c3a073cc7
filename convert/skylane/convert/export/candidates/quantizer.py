"""ONNX Runtime's quantization tools. They import ONNX Runtime, which must come from `skylane.onnx_runtime` first."""

import skylane.onnx_runtime  # noqa: F401 - for what its import does

# isort: split
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

__all__ = ["CalibrationDataReader", "QuantFormat", "QuantType", "quantize_dynamic", "quantize_static"]
