"""The messages of `inference`; see proto/inference."""

from typing import Final

from skylane.server.codecs.descriptor_pool import message

SERVICE: Final = "inference.GRPCInferenceService"
INFER: Final = f"/{SERVICE}/ModelInfer"
INFER_STREAM: Final = f"/{SERVICE}/ModelStreamInfer"

ModelInferRequest: Final = message("inference.ModelInferRequest")
ModelInferResponse: Final = message("inference.ModelInferResponse")
InferParameter: Final = message("inference.InferParameter")
InferTensorContents: Final = message("inference.InferTensorContents")
ModelStreamInferResponse: Final = message("inference.ModelStreamInferResponse")

CONTENTS_OF: Final = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}
"""Type → the field of contents that holds its elements. Half precision has none."""
