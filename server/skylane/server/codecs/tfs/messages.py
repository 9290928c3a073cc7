"""The messages of `tensorflow.serving`; see proto/tensorflow."""

from typing import Final

from skylane.dtypes import DType
from skylane.server.codecs.descriptor_pool import message

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
MODEL_SERVICE: Final = "tensorflow.serving.ModelService"
PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
SIGNATURE: Final = "serving_default"

PredictRequest: Final = message("tensorflow.serving.PredictRequest")
PredictResponse: Final = message("tensorflow.serving.PredictResponse")
TensorProto: Final = message("tensorflow.TensorProto")
SignatureDefMap: Final = message("tensorflow.serving.SignatureDefMap")

NUMBER_OF: Final[dict[DType, int]] = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "string": 7,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
"""Type → its number in tensorflow.DataType."""
DTYPE_OF: Final = {number: dtype for dtype, number in NUMBER_OF.items()}

VALUES_OF: Final[dict[DType, str]] = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "uint8": "int_val",
    "int16": "int_val",
    "int8": "int_val",
    "uint16": "int_val",
    "string": "string_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}
"""Type → the field of a TensorProto that lists its elements."""
