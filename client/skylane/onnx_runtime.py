"""ONNX Runtime with its telemetry off: the one place that imports it.

From 1.29 on ONNX Runtime reports to its maker by default, on Linux as well: it looks up a host name, and writes a
device id and a queue of events below `$HOME/.cache`. It reads the variable when it is imported. An operator who has set
the variable gets what it says.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
