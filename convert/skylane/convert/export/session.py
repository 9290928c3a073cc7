"""ONNX Runtime sessions as the server makes them: one thread, no spinning, no arena."""

import re
from collections.abc import Mapping, Sequence


from skylane.convert.errors import Defective
from skylane.convert.inspection.schema import Array
from skylane.onnx_runtime import onnxruntime as ort


class Session:
    """One graph, ready to run."""

    def __init__(self, graph: bytes) -> None:
        """Raises Defective if ONNX Runtime does not load the graph."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no base of their own
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
    """The gist of ONNX Runtime's own message."""
    text = " ".join(str(error).split())
    kernel = re.search(r"Could not find an implementation for (\w+)", text)
    if kernel:
        return f"it has no kernel of {kernel[1]} for these types"
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:200]
