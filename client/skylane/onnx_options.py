"""How ONNX Runtime runs a graph: the same in the server and in the converter, which times graphs for it.

ONNX Runtime is not imported here: who makes a session gives the module.
"""

from typing import Any, Final

from skylane.policy import Session

PROVIDERS: Final = ("CPUExecutionProvider",)

LEVELS: Final = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
"""A policy's word → ONNX Runtime's name of it."""

FAILURES_ONLY: Final = 4
"""Severity of what ONNX Runtime logs itself: what fails is raised as well, and reported by us."""


def session_options(onnxruntime: Any, session: Session | None = None) -> Any:
    """The `SessionOptions` for a model whose policy says this of its sessions; by default, one that says nothing."""
    session = session or Session()
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = session.intra_op_threads
    made.inter_op_num_threads = 1
    made.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    made.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[session.graph_optimization])
    made.log_severity_level = FAILURES_ONLY
    # Whatever a file is called or begins with, it is read as what was checked.
    made.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads that spin for work burn the CPU of an idle server, and their neighbours' while it works.
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch's memory for ever, the pattern cache an entry for each batch size; for small
    # models both cost time as well (1.07 and 1.14 times faster without: measured, in the study behind this project).
    made.enable_cpu_mem_arena = False
    made.enable_mem_pattern = False
    return made
