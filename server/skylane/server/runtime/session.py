"""ONNX Runtime sessions: how one is made, and how it runs. Nothing else in the server uses onnxruntime."""

import os
import threading
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Final, Self

from skylane.dtypes import DType
from skylane.manifest import BrokenVersion
from skylane.onnx_options import PROVIDERS, session_options
from skylane.onnx_runtime import onnxruntime as ort
from skylane.policy import Session
from skylane.server.core.types import Array, Interface
from skylane.server.runtime.external_data import BadGraph, has_external_data
from skylane.server.runtime.memory import allocated_bytes, taken_since

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


GRAPH_BYTES_MAX: Final = 2**31 - 1
"""Largest message of protobuf, which an ONNX file is."""

_DESCRIPTORS: Final = "/proc/self/fd"
"""Where Linux gives each open file a path, by which ONNX Runtime reads it without the GIL and without a copy."""


class TimeLimit:
    """Ends what ONNX Runtime does for the thread that loads, when it takes too long: a load, a run. Use as a context.

    A run checks for it before each node, and at each turn of a loop in the graph.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds
        self.exceeded = False
        self._run_options = ort.RunOptions()
        self._session_options: ort.SessionOptions | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def covers(self, options: ort.SessionOptions) -> None:
        """End also the making of a session with these options."""
        self._session_options = options
        if self.exceeded:
            self._end()

    def limited(self, session: "OnnxSession") -> "LimitedSession":
        """The session, with runs that end when the time is over."""
        return LimitedSession(session, self._run_options)

    def _end(self) -> None:
        self.exceeded = True
        self._run_options.terminate = True
        if self._session_options is not None and hasattr(self._session_options, "set_load_cancellation_flag"):
            self._session_options.set_load_cancellation_flag(True)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()


class OnnxSession:
    """One graph, ready to run. Any number of threads may run it at once; each run stays on its thread."""

    def __init__(
        self, graph: bytes | str, interface: Interface, options: Session, limit: TimeLimit | None = None
    ) -> None:
        """`graph`: its bytes, or a path from which to read it; it must not refer to other files.

        Raises BrokenVersion if it cannot be loaded or is not what the interface says.
        """
        _take_what_is_taken_once()
        before = allocated_bytes()
        made = session_options(ort, options)
        if limit:
            limit.covers(made)
        try:
            self._session = ort.InferenceSession(graph, made, providers=list(PROVIDERS))
        except Exception as error:  # onnxruntime raises a family of its own without a common base but Exception
            if limit and limit.exceeded:
                raise BrokenVersion(f"model.onnx: it is not loaded after {limit.seconds:g} s") from error
            raise BrokenVersion(f"model.onnx: ONNX Runtime cannot load it: {_load_error_text(error, graph)}") from error
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

    def run(self, inputs: Sequence[Array], options: ort.RunOptions | None = None) -> Sequence[Array]:
        """All outputs for these inputs, both in the interface's order. Releases the GIL while it computes."""
        outputs: Sequence[Array] = self._run(self._outputs, dict(zip(self._inputs, inputs, strict=True)), options)
        return outputs


class LimitedSession:
    """A session whose runs end when ONNX Runtime is told so. Raises what it raises, also then."""

    def __init__(self, session: OnnxSession, options: ort.RunOptions) -> None:
        self._session, self._options = session, options

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See OnnxSession.run."""
        return self._session.run(inputs, self._options)


def graph_of(descriptor: int, size: int, *, may_refer_to_files: bool) -> bytes | str:
    """What to make a session of: the file behind an open descriptor, which must stay open until it is made.

    Raises BrokenVersion for a graph that keeps values in other files, and OSError. `may_refer_to_files`: False if that
    is known to be impossible; else the graph is read as a whole, to find out.
    """
    if size > GRAPH_BYTES_MAX:
        raise BrokenVersion(f"model.onnx: it has {size} bytes, expected {GRAPH_BYTES_MAX} at most")
    if may_refer_to_files:
        _refuse_external_data(_content(descriptor))
    if os.path.exists(path := f"{_DESCRIPTORS}/{descriptor}"):
        return path
    return _content(descriptor)


def _refuse_external_data(graph: bytes) -> None:
    try:
        refers = has_external_data(graph)
    except BadGraph:
        raise BrokenVersion("model.onnx: ONNX Runtime cannot load it: it is not an ONNX graph") from None
    if refers:
        raise BrokenVersion(
            "model.onnx: it keeps tensors in other files (external data), expected all of them in model.onnx: "
            "write it with onnx.save(…, save_as_external_data=False)"
        )


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _load_error_text(error: Exception, graph: bytes | str) -> str:
    """The error's text without the file's path, and without line breaks, which names of nodes may contain."""
    text = str(error)
    if isinstance(graph, str):
        text = text.replace(f"Load model from {graph} failed:", "").replace(graph, "model.onnx")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


@cache
def _take_what_is_taken_once() -> None:
    """Allocate ONNX Runtime's 1.4 MiB of shared memory now, in 3 ms, so as not to count it for the first version."""
    ort.InferenceSession(_IDENTITY, session_options(ort), providers=list(PROVIDERS))


def _check(what: str, nodes: Sequence[ort.NodeArg], promised: dict[str, DType]) -> None:
    actual = {node.name: _DTYPES.get(node.type, node.type) for node in nodes}
    if actual != promised:
        raise BrokenVersion(f"manifest.json: {what}: it promises {promised}, but the graph has {actual}")
