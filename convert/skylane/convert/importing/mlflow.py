"""Reads the directory of a model that MLflow saved, and finds what can be imported. MLflow itself is not needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import yaml

from skylane.convert.errors import BadRows, Unconvertible, Unreadable
from skylane.convert.importing.sample import Sample

MLMODEL: Final = "MLmodel"

ADVICE: Final[Mapping[str, str]] = {
    "pytorch": "export it with torch.onnx.export, and import that file",
    "tensorflow": "convert it with `python -m tf2onnx.convert`, and import that file",
    "keras": "convert it with `python -m tf2onnx.convert`, and import that file",
    "xgboost": "load it, and convert its scikit-learn estimator with convert.convert_pipeline",
    "lightgbm": "load it, and convert its scikit-learn estimator with convert.convert_pipeline",
    "python_function": "it is a program of its own, and only graphs are served",
}
"""Flavor → advice for models that have no other flavor."""

UNNAMED: Final = "X"
"""The name of the rows in a sample if they have none."""

FILE_OF: Final[Mapping[str, str]] = {"onnx": "data", "sklearn": "pickled_model"}
"""Flavor → the key that names its file; the first flavor that a model has is used."""


@dataclass(frozen=True)
class MlflowModel:
    """The content of an MLmodel file that matters here."""

    directory: Path
    flavor: Literal["onnx", "sklearn"]
    file: Path
    """The graph, or the fitted pipeline."""
    columns: tuple[str, ...]
    """Names of the inputs in the signature; empty if it has none, or they have no names."""
    example: str | None
    """File of the input example."""
    origin: str
    """Description of the MLflow model, for the manifest."""

    def sample(self) -> Sample | None:
        """The rows of the input example; None if there is none. Raises BadRows and Unreadable."""
        if self.example is None:
            return None
        path = _inside(self.directory, self.example)
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise Unreadable(f"{path}: the input example cannot be read: {error}") from error
        return _rows(content, str(path))


def is_mlflow(path: Path) -> bool:
    """Whether a directory holds a model that MLflow saved."""
    return (path / MLMODEL).is_file()


def read_mlflow(directory: Path) -> MlflowModel:
    """Read a model's description. Raises Unreadable, and Unconvertible naming its flavors."""
    path = directory / MLMODEL
    described = _mapping(_read(path), f"{path}")
    flavors = _mapping(described.get("flavors"), f"{path}: flavors")
    for flavor, key in FILE_OF.items():
        if flavor in flavors:
            named = _mapping(flavors[flavor], f"{path}: flavors.{flavor}").get(key)
            if not isinstance(named, str):
                raise Unreadable(f"{path}: flavors.{flavor}.{key}: expected the name of a file, received {named!r}")
            return MlflowModel(
                directory,
                flavor,  # type: ignore[arg-type]  # a key of FILE_OF
                _file(directory, named),
                _columns(described, path),
                _example(described),
                _origin(described),
            )
    advice = next((text for flavor, text in ADVICE.items() if flavor in flavors), "only graphs are served")
    raise Unconvertible(f"{path}: it has the flavors {', '.join(flavors)}, and neither onnx nor sklearn: {advice}")


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{where}: expected a mapping, as MLflow writes it")
    return value


def _file(directory: Path, named: str) -> Path:
    """A file of the model; for a directory of weights beside the graph, the graph."""
    path = _inside(directory, named)
    return path / "model.onnx" if path.is_dir() else path


def _inside(directory: Path, named: str) -> Path:
    """A path of the model. Raises Unreadable if it leads out of it."""
    path = directory / named
    if not path.resolve().is_relative_to(directory.resolve()):
        raise Unreadable(f"{directory / MLMODEL}: {named!r} leads out of the model's directory")
    return path


def _columns(described: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    signature = described.get("signature") or {}
    try:
        inputs = json.loads(_mapping(signature, f"{path}: signature").get("inputs") or "[]")
        names = [entry.get("name") for entry in inputs]
    except (ValueError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path}: signature.inputs: {error}") from error
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def _example(described: Mapping[str, Any]) -> str | None:
    saved = described.get("saved_input_example_info")
    if not isinstance(saved, dict) or not isinstance(saved.get("artifact_path"), str):
        return None
    name: str = saved["artifact_path"]
    return name if name.endswith(".json") else None  # others are sparse matrices


def _origin(described: Mapping[str, Any]) -> str:
    names = {"model": "model_id", "run": "run_id", "MLflow": "mlflow_version"}
    model = described.get("model_id") or described.get("model_uuid")
    values = {"model_id": model, "run_id": described.get("run_id"), "mlflow_version": described.get("mlflow_version")}
    return ", ".join(f"{name} {values[key]}" for name, key in names.items() if values[key])


def _rows(content: Any, source: str) -> Sample:
    """The rows from any format that MLflow writes: a split data frame, records, arrays, or arrays by name."""
    if isinstance(content, dict):
        for wrapper in ("inputs", "instances", "dataframe_split", "dataframe_records"):
            if list(content) == [wrapper]:
                return _rows(content[wrapper], source)
        if {"columns", "data"} <= content.keys():
            return pd.DataFrame(content["data"], columns=content["columns"])
        return {str(name): _array(values, source) for name, values in content.items()}
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return pd.DataFrame(content)
    return {UNNAMED: _array(content, source)}


def _array(values: Any, source: str) -> "np.ndarray[Any, Any]":
    try:
        array = np.array(values)
    except ValueError as error:
        raise BadRows(f"{source}: its rows differ in length") from error
    if array.ndim == 0 or not array.size:
        raise BadRows(f"{source}: it has no rows")
    return array
