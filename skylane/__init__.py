"""Skylane: scikit-learn pipelines as quantized ONNX graphs, served over gRPC.

This package is what other programs import: the client, the generated stubs and the manifest of a published model.
It needs grpcio, protobuf and numpy only; it never imports ONNX Runtime or scikit-learn.
"""

from importlib.metadata import version

__version__ = version("skylane")
