"""ONNX Runtime sessions: how one is made, and how it runs. Nothing else imports onnxruntime."""

from collections.abc import Sequence
from functools import cache

import onnxruntime as ort

from skylane.dtypes import DType
from skylane.manifest import BrokenVersion
from skylane.policy import Session
from skylane.server.core.types import Array, Interface
from skylane.server.runtime.memory import allocated_bytes, taken_since

_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_DTYPES: dict[str, DType] = {
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "string",
}


_IDENTITY = (
    b'\x08\t:/\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0b\n\x01x\x12\x06\n\x04\x08\x01\x12\x00'
    b"b\x0b\n\x01y\x12\x06\n\x04\x08\x01\x12\x00B\x04\n\x00\x10\x12"
)
"""A graph: y = x, a float32 without dimensions. IR version 9, opset 18."""


class OnnxSession:
    """One graph, ready to run. Any number of threads may run it at once; each run stays on its thread."""

    def __init__(self, graph: bytes, interface: Interface, options: Session) -> None:
        """Raises BrokenVersion if the graph cannot be loaded or is not what the interface says."""
        _take_what_is_taken_once()
        before = allocated_bytes()
        try:
            self._session = ort.InferenceSession(graph, _options(options), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a family of its own without a common base but Exception
            raise BrokenVersion(f"model.onnx: ONNX Runtime cannot load it: {error}") from error
        self.memory_bytes = taken_since(before)
        """What making it took, and it gives back in the end; UNKNOWN where that cannot be told. What other threads
        take meanwhile is in it too."""
        _check("tensors", self._session.get_inputs(), {spec.name: spec.dtype for spec in interface.tensors})
        _check("outputs", self._session.get_outputs(), {spec.name: spec.dtype for spec in interface.outputs})
        self._inputs = [spec.name for spec in interface.tensors]
        self._outputs = [spec.name for spec in interface.outputs]
        # `run` of the public class checks the names once more and costs 3 of 11 µs for a small graph; what it wraps is
        # private, so it is used only where it is found.
        self._run = getattr(getattr(self._session, "_sess", None), "run", self._session.run)

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """All outputs for these inputs, both in the interface's order. Releases the GIL while it computes."""
        outputs: Sequence[Array] = self._run(self._outputs, dict(zip(self._inputs, inputs, strict=True)), None)
        return outputs


@cache
def _take_what_is_taken_once() -> None:
    """1.4 MiB of ONNX Runtime's own, in 3 ms, which would else be told of the first version that is loaded."""
    ort.InferenceSession(_IDENTITY, _options(Session()), providers=["CPUExecutionProvider"])


def _options(options: Session) -> ort.SessionOptions:
    made = ort.SessionOptions()
    made.intra_op_num_threads = options.intra_op_threads
    made.inter_op_num_threads = 1
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.graph_optimization_level = _LEVELS[options.graph_optimization]
    made.log_severity_level = 4  # what fails is raised as well, and told by us
    # Threads that spin for work burn the CPU of an idle server, and their neighbours' while it works.
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch's memory for ever, the pattern cache an entry for each batch size; for small
    # models both cost time as well (1.07 and 1.14 times faster without: measured, in the study behind this project).
    made.enable_cpu_mem_arena = False
    made.enable_mem_pattern = False
    return made


def _check(what: str, found: Sequence[ort.NodeArg], promised: dict[str, DType]) -> None:
    actual = {node.name: _DTYPES.get(node.type, node.type) for node in found}
    if actual != promised:
        raise BrokenVersion(f"manifest.json: {what}: it promises {promised}, but the graph has {actual}")
