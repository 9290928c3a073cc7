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
"""ONNX Runtime's log level for fatal errors only: other errors are raised, and reported by the caller."""


def session_options(onnxruntime: Any, session: Session | None = None) -> Any:
    """The `SessionOptions` for this [session] section of a policy; by default, those of an empty one."""
    session = session or Session()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = session.intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[session.graph_optimization])
    options.log_severity_level = FAILURES_ONLY
    # Never another format, whatever the file is called or begins with: only ONNX was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads that spin for work burn the CPU of an idle server, and their neighbours' while it works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch's memory for ever, the pattern cache an entry for each batch size; for small
    # models both cost time as well (1.07 and 1.14 times faster without: measured, in the study behind this project).
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return options
