"""A Triton model repository → versions and model.toml files in our layout. Reads and writes files; runs no model.

The layout is <model>/config.pbtxt, which may be missing, and <model>/<version>/model.onnx.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.convert.errors import ConversionError, Unconvertible, Unreadable, Unwritable
from skylane.convert.importing.text_proto import Malformed, Message, parse
from skylane.convert.importing.triton_policy import Plan, Setting, differences, plan_of, without_config
from skylane.convert.importing.version import ImportedVersion, Source
from skylane.manifest import MODEL_NAME
from skylane.policy import BadPolicy

CONFIG: Final = "config.pbtxt"
POLICY: Final = "model.toml"
MODEL: Final = "model.onnx"

TENSORFLOW: Final = (
    "a TensorFlow model: convert it first with `python -m tf2onnx.convert --saved-model DIR --output model.onnx`"
)
OTHERS: Final[dict[str, str]] = {
    "tensorrt": "an engine of TensorRT runs on NVIDIA GPUs only: import the ONNX file that it was built from",
    "pytorch": "a TorchScript model: export it with torch.onnx.export and import that file",
    "libtorch": "a TorchScript model: export it with torch.onnx.export and import that file",
    "tensorflow": TENSORFLOW,
    "openvino": "an OpenVINO model: import the ONNX file that it was made from",
    "python": "the Python backend runs a program of its own, which is not served here",
    "ensemble": "an ensemble passes tensors from model to model: import its models, and call them one after the other",
    "fil": "trees of the FIL backend: convert the fitted model itself with `skylane convert`",
}
"""Prefix of a platform or backend → why it cannot be served, and what to do."""

FILES: Final[dict[str, str]] = {
    "model.plan": "tensorrt",
    "model.pt": "pytorch",
    "model.savedmodel": "tensorflow",
    "saved_model.pb": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.xml": "openvino",
    "model.py": "python",
    "xgboost.model": "fil",
    "xgboost.json": "fil",
    "model.txt": "fil",
}
"""File of a version → the backend that serves it."""

Import = Callable[[Path, str, int, Source, bool], ImportedVersion]
"""Import a file as a version of a model: path, name, number, source, and whether requests will share runs."""


@dataclass
class ModelReport:
    """The result of importing one model."""

    name: str
    versions: list[ImportedVersion] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What was not imported, and why."""
    exit_code: int = 0
    """Exit code of the first refusal; 0 if there was none."""
    settings: list[Setting] = field(default_factory=list)
    policy: str = ""
    """What was done with model.toml, in words."""

    def refuse(self, what: str, exit_code: int = Unconvertible.exit_code) -> None:
        """Something that is not imported."""
        self.refused.append(what)
        self.exit_code = self.exit_code or exit_code


def is_model(path: Path) -> bool:
    """Whether a directory is a single model in Triton's layout, of any backend."""
    return (path / CONFIG).is_file() or any(
        (child / name).exists() for child in _numbered(path) for name in (MODEL, *FILES)
    )


def import_repository(root: Path, repository: Path, add: Import) -> Iterator[ModelReport]:
    """Import every model of a repository, one after the other. Raises Unreadable if the directory cannot be read."""
    try:
        children = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise Unreadable(f"{root}: cannot be read: {error.strerror}") from error
    directories = [path for path in children if path.is_dir()]
    if not directories:
        raise Unreadable(
            f"{root}: expected a Triton repository, <model>/<version>/{MODEL}, but it has no directories"
            f"{_instead(root, children)}"
        )
    for path in children:
        if path.is_dir():
            yield import_model(path, path.name, repository, add)
        elif path.suffix == ".onnx":
            lone = ModelReport(path.name)
            lone.refuse(f"it lies in no model's directory: `skylane import {path} --name {path.stem}` imports the file")
            yield lone


def _instead(root: Path, files: Sequence[Path]) -> str:
    """Advice on what to import instead of a directory that directly contains an ONNX file, such as a version's."""
    graph = next((path for path in files if path.suffix == ".onnx"), None)
    if graph is None:
        return ""
    place = root.resolve()
    if place.name.isdecimal():
        return f"; it is a version: import its model, `skylane import {root.parent if root.name else place.parent}`"
    return f"; import the file: `skylane import {graph} --name {place.name}`"


def import_model(directory: Path, name: str, repository: Path, add: Import) -> ModelReport:
    """Import all versions of one model, and write its model.toml."""
    report = ModelReport(name)
    try:
        if not MODEL_NAME.fullmatch(name):
            raise Unconvertible(
                "its name is not a valid model name: use letters, digits, '_', '-' and '.', at most 100"
            )
        config = _config(directory)
        plan = without_config() if config is None else _plan(config, directory.name)
    except ConversionError as error:
        report.refuse(str(error), error.exit_code)
        return report
    config = config or Message()
    report.settings += plan.settings
    _import_versions(directory, config, plan, report, add)
    if report.versions:
        tensors = report.versions[-1].manifest
        for field_name, specs in (("input", tensors.tensors), ("output", tensors.outputs)):
            report.settings += differences(config, field_name, specs)
        _write_policy(repository / name, plan, report)
    return report


def _import_versions(directory: Path, config: Message, plan: Plan, report: ModelReport, add: Import) -> None:
    filename = config.last("default_model_filename") or MODEL
    has_version = False
    for path in sorted(directory.iterdir(), key=_order):
        number = _number(path, directory.name, report)
        if number is None:
            continue
        has_version = True
        if plan.versions is not None and number not in plan.versions:
            continue
        try:
            file = _graph_of(path, filename)
            source = Source("triton", "/".join(file.relative_to(directory.parent).parts))
            report.versions.append(add(file, report.name, number, source, plan.batched))
        except ConversionError as error:
            report.refuse(f"version {number}: {error}", error.exit_code)
    if not has_version and not report.refused:
        report.refuse(_without_version(directory, filename))


def _order(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdecimal() else 0, path.name)


def _number(path: Path, model: str, report: ModelReport) -> int | None:
    """The version number of a directory; None if it is no version, which is reported if it may be a mistake."""
    if not path.is_dir() or not re.fullmatch(r"[0-9]+", path.name):
        return None
    if re.fullmatch(r"[1-9][0-9]{0,17}", path.name):
        return int(path.name)
    whole = int(path.name)
    advice = f"rename it to {model}/{whole}" if 0 < whole < 10**18 else "number versions from 1"
    saved = f"; besides, it holds {TENSORFLOW}" if (path / "saved_model.pb").exists() else ""
    report.refuse(f"{model}/{path.name}: a version's directory is a number without leading zeros: {advice}{saved}")
    return None


def _graph_of(version: Path, filename: str) -> Path:
    """The ONNX file of a version. Raises Unconvertible saying what is there instead."""
    file = _file_in(version, filename)
    if file is not None:
        return file
    for other, backend in FILES.items():
        if (version / other).exists():
            raise Unconvertible(f"{other} is {_indefinite(OTHERS[backend])}")
    raise Unreadable(f"expected {version.name}/{filename}, which is not there")


def _indefinite(text: str) -> str:
    return text if text.startswith(("a ", "an ", "the ")) else f"of {text}"


def _file_in(version: Path, filename: str) -> Path | None:
    """A file; or, if a directory has that name because weights are stored beside it, the file in that directory."""
    for path in (version / filename, version / filename / filename):
        if path.is_file():
            return path
    return None


def _numbered(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.name.isdecimal() and child.is_dir()] if path.is_dir() else []


def _without_version(directory: Path, filename: str) -> str:
    name = directory.name
    if (directory / filename).is_file():
        return (
            f"{name}/{filename} lies in no version's directory: move it to {name}/1/{filename}, or import the file: "
            f"`skylane import {directory / filename} --name {name}`"
        )
    return f"it has no version: expected {name}/<number>/{filename}"


def _config(directory: Path) -> Message | None:
    try:
        return parse((directory / CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Unreadable(f"{CONFIG}: cannot be read: {reason}") from error
    except Malformed as error:
        raise Unreadable(f"{CONFIG}: {error}") from error


def _plan(config: Message, name: str) -> Plan:
    platform, backend = config.last("platform"), config.last("backend")
    served = platform or backend
    if served and not served.startswith("onnxruntime"):
        reason = next(
            (text for prefix, text in OTHERS.items() if served.startswith(prefix)), "only ONNX is served here"
        )
        raise Unconvertible(f"{'platform' if platform else 'backend'} {served!r}: {reason}")
    try:
        plan = plan_of(config)
    except Malformed as error:
        raise Unreadable(f"{CONFIG}: {error}") from error
    if config.last("name", name) != name:
        plan.drop(f"name: {config.last('name')}", f"the directory is called {name}, which is the model's name")
    return plan


def _write_policy(directory: Path, plan: Plan, report: ModelReport) -> None:
    """Write model.toml unless there is one. Raises Unwritable."""
    if any(version.alone for version in report.versions):
        original = "a row's answer depends on its batch"
        plan.sections.get("batching", {}).pop("max_batch_rows", None)
        plan.set(
            "batching", "max_batch_rows", 1, original, "each request runs alone, as in Triton without dynamic_batching"
        )
        report.settings.append(plan.settings[-1])
    content = plan.toml()
    if not content:
        report.policy = "no model.toml is needed: the defaults hold"
        return
    try:
        policies.decode(content.encode())
    except BadPolicy as error:
        raise Unreadable(f"{CONFIG}: {error}") from error
    report.policy = write_policy(directory, content)


def write_policy(directory: Path, content: str) -> str:
    """Write model.toml in one go unless there is one; returns what was done, in words. Raises Unwritable."""
    path = directory / POLICY
    try:
        if path.exists():
            if path.read_text("utf-8") == content:
                return f"{POLICY} is as it would be written"
            return f"{POLICY} exists and was left as it is; it would be: {' '.join(content.split())}"
        handle, staged = tempfile.mkstemp(prefix=".staging-", dir=directory)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        staged_path = Path(staged)
        staged_path.chmod(0o644)
        staged_path.rename(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Unwritable(f"{path}: it was not written: {error}") from error
    return f"{POLICY} written"
