"""ONNX Runtime sessions with the server's options: one thread, no spinning, no arena."""

import re
from collections.abc import Mapping, Sequence

from skylane.convert.errors import Defective
from skylane.convert.inspection.schema import Array
from skylane.onnx_options import PROVIDERS, session_options
from skylane.onnx_runtime import onnxruntime as ort


class Session:
    """One graph, ready to run."""

    def __init__(self, graph: bytes) -> None:
        """Raises Defective if ONNX Runtime does not load the graph."""
        try:
            self._session = ort.InferenceSession(graph, session_options(ort), providers=list(PROVIDERS))
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise Defective(f"ONNX Runtime does not load it: {_said(error)}") from error
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """All outputs, in the graph's order."""
        outputs: Sequence[Array] = self._session.run(self.outputs, dict(inputs))
        return outputs

    def named(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        return dict(zip(self.outputs, self.run(inputs), strict=True))


def _said(error: Exception) -> str:
    """The essential part of ONNX Runtime's message."""
    text = " ".join(str(error).split())
    kernel = re.search(r"Could not find an implementation for (\w+)", text)
    if kernel:
        return f"it has no kernel of {kernel[1]} for these types"
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:200]
