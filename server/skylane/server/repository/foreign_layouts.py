"""Directories that another server or tool wrote, and the command that makes versions of them. Looks at names alone."""

from pathlib import Path
from typing import Final

from skylane.version_files import MANIFEST_FILE, MODEL_FILE, SUMS_FILE

TRITON_CONFIG: Final = "config.pbtxt"
SAVED_MODELS: Final = ("saved_model.pb", "saved_model.pbtxt", "model.savedmodel")


def advice(version: Path) -> str:
    """What is wrong with a version's directory that nobody published with Skylane, and what to do; else nothing."""
    if (version / MANIFEST_FILE).exists() or (version / SUMS_FILE).exists():
        return ""
    model = version.parent
    if any((version / name).exists() for name in SAVED_MODELS):
        return "it is a TensorFlow SavedModel: convert it with tf2onnx, and the result with `skylane import`"
    if not (version / MODEL_FILE).exists():
        return ""
    if (model / TRITON_CONFIG).exists():
        return (
            f"{MANIFEST_FILE}: there is none, as in a repository of NVIDIA Triton ({TRITON_CONFIG}): make versions of "
            "it with `skylane import triton-repository/`"
        )
    return (
        f"{MANIFEST_FILE}: there is none, so {MODEL_FILE} is a plain ONNX file: make a version of it with "
        f"`skylane import {MODEL_FILE} --name {model.name}`"
    )


def advice_for_model(names: frozenset[str]) -> str:
    """The same of a model's directory without versions, that has entries of these names."""
    if TRITON_CONFIG in names:
        return "it is of NVIDIA Triton: make versions of it with `skylane import triton-repository/`"
    if MODEL_FILE in names:
        return f"it has a plain ONNX file: make a version of it with `skylane import {MODEL_FILE} --name …`"
    if names.intersection(SAVED_MODELS):
        return "it is a TensorFlow SavedModel: convert it with tf2onnx, and the result with `skylane import`"
    return ""
