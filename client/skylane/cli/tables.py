"""Answers as text: aligned tables for people, JSON and CSV for programs. Pure."""

import csv
import io
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from skylane.client.decoding import Prediction
from skylane.client.schema import Model, ModelStatus

Rows = Sequence[Sequence[Any]]


def table(header: Sequence[str], rows: Rows) -> str:
    """Columns padded to a common width, two spaces apart; numbers are right-aligned."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [header, *cells]
    )


def csv_text(header: Sequence[str], rows: Rows) -> str:
    """Comma-separated, one line for each row, with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def json_text(value: Any) -> str:
    """Indented JSON; NaN and infinities, which JSON lacks, are null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Answers to consecutive rows, joined into one."""
    if len(parts) == 1:
        return parts[0]
    outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs}
    return Prediction(parts[0].model, parts[0].version, outputs, all(part.cached for part in parts))


def prediction_rows(prediction: Prediction, model: Model) -> tuple[list[str], list[list[Any]]]:
    """A column for each output, or for each column of an output with several, such as `P(late)`; a row for each row."""
    classes = {output.name: output.classes for output in model.outputs if output.role == "probabilities"}
    header: list[str] = []
    columns: list[list[Any]] = []
    for name, array in prediction.outputs.items():
        flat = array.reshape(len(prediction), -1) if array.size else array.reshape(len(prediction), 0)
        names = classes.get(name, ())
        for place in range(flat.shape[1]):
            if len(names) == flat.shape[1]:
                header.append(f"P({names[place]})")
            else:
                header.append(name if flat.shape[1] == 1 else f"{name}[{place}]")
            columns.append(_plain(flat[:, place]))
    return header, [list(row) for row in zip(*columns, strict=True)]


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """The answer as plain lists under its output names."""
    return {
        "model": prediction.model,
        "version": prediction.version,
        "cached": prediction.cached,
        "outputs": {name: _plain(array) for name, array in prediction.outputs.items()},
    }


def models_json(status: ModelStatus, defaults: Collection[tuple[str, int]]) -> dict[str, Any]:
    """One model and its versions. `defaults` answer if none is named."""
    described = asdict(status)
    for version in described["versions"]:
        version["default"] = (status.name, version["version"]) in defaults
    return described


def models_rows(
    statuses: Sequence[ModelStatus], schemas: dict[tuple[str, int], Model], defaults: Collection[tuple[str, int]]
) -> list[list[Any]]:
    """Model, version, state, inputs, labels: one row for each version. `defaults` answer if none is named."""
    rows = []
    for status in statuses:
        for version in status.versions:
            labels = ", ".join(sorted(label for label, number in status.labels.items() if number == version.version))
            model = schemas.get((status.name, version.version))
            state = version.state + ", default" * ((status.name, version.version) in defaults)
            rows.append([status.name, version.version, state, _inputs(model) if model else "", labels])
        if not status.versions:
            rows.append([status.name, "", "no version", "", ""])
    return rows


def not_ready_lines(statuses: Sequence[ModelStatus], model: str | None) -> list[str]:
    """Why the server, or this model, is not ready: a line for each version, or a single line."""
    selected = [status for status in statuses if model in (None, status.name)]
    if not selected and model:
        return ["it was unloaded, or it is no longer in the repository"]
    if not selected:
        return ["no model is loaded: the repository is empty or cannot be read; see the server's log"]
    versions = [(status.name, version) for status in selected for version in status.versions]
    if any(version.state == "ready" for _, version in versions):
        return ["the server is shutting down"]
    return [
        f"{name} version {version.version} {version.state}" + f": {_first_line(version.reason)}" * bool(version.reason)
        for name, version in versions
    ] + [f"{status.name}: its directory cannot be read" for status in selected if not status.versions]


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def model_text(model: Model) -> str:
    """The inputs and outputs of a version as tables."""
    columns = [
        [column.name, column.dtype, "yes" if column.may_be_missing else "no", f"{column.tensor}[{column.index}]"]
        for column in model.columns
    ]
    tensors = [[tensor.name, tensor.dtype, _shape(tensor.shape)] for tensor in model.tensors]
    outputs = [
        [output.name, output.dtype, _shape(output.shape), output.role, ", ".join(output.classes)]
        for output in model.outputs
    ]
    parts = [f"{model.name} version {model.version}, {model.task or 'model'}"]
    if columns:
        parts.append(table(["COLUMN", "DTYPE", "GAPS ALLOWED", "IN TENSOR"], columns))
    parts.append(table(["TENSOR", "DTYPE", "SHAPE"], tensors))
    parts.append(table(["OUTPUT", "DTYPE", "SHAPE", "ROLE", "CLASSES"], outputs))
    return "\n\n".join(parts)


def _inputs(model: Model) -> str:
    if model.columns:
        return f"{len(model.columns)} column{'s' * (len(model.columns) > 1)}"
    return ", ".join(f"{tensor.name} {tensor.dtype} {_shape(tensor.shape)}" for tensor in model.tensors)


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join("rows" if i == 0 else "any" if size < 0 else str(size) for i, size in enumerate(shape)) + ")"


def _plain(array: "np.ndarray[Any, Any]") -> list[Any]:
    """Python values; float32 as the shortest number that identifies it, 0.1 rather than 0.10000000149011612."""
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        array = np.array([float(str(number)) for number in array.ravel()]).reshape(array.shape)
    values: list[Any] = array.tolist()
    return values


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
