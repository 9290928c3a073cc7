"""Directories that another server or tool wrote, and the command that makes versions of them. Looks at names alone."""

import re
import shlex
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


def command(version: Path) -> str:
    """What imports such a version's directory, with real paths: for the operator, not for clients."""
    model, repository = version.parent, version.parent.parent
    if (model / TRITON_CONFIG).exists():
        return _import_all(repository)
    return _import_one(version / MODEL_FILE, model.name, repository)


def _import_all(repository: Path) -> str:
    """Into another repository: versions keep their numbers, which are taken in their own."""
    target = repository.resolve().with_name(f"{repository.resolve().name}-imported")
    return f"skylane import {shlex.quote(str(repository))} --models {shlex.quote(str(target))}"


def _import_one(graph: Path, model: str, repository: Path) -> str:
    quoted = shlex.quote(str(graph)), shlex.quote(model), shlex.quote(str(repository))
    return "skylane import {} --name {} --models {}".format(*quoted)


def advice_for_file(graph: Path) -> str:
    """What to do with an ONNX file beside the models; for the operator."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", graph.stem)
    return f"`{_import_one(graph, name, graph.parent)}` makes a version of a plain ONNX file"


def advice_for_model(directory: Path, names: frozenset[str]) -> str:
    """What is wrong with a model's directory without versions, that has entries of these names; for the operator."""
    if TRITON_CONFIG in names:
        return f"it is of NVIDIA Triton: make versions of it with `{_import_all(directory.parent)}`"
    if MODEL_FILE in names:
        importing = _import_one(directory / MODEL_FILE, directory.name, directory.parent)
        return f"it has a plain ONNX file: make a version of it with `{importing}`"
    if names.intersection(SAVED_MODELS):
        return "it is a TensorFlow SavedModel: convert it with tf2onnx, and the result with `skylane import`"
    return ""
