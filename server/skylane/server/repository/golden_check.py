"""Checks a loaded graph against its golden rows: rows with their answers, which the manifest of every version holds."""

from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Final

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.manifest import BrokenVersion, Manifest, OutputSpec
from skylane.server.core.types import Array

GOLDEN_TOLERANCE: Final = 1e-4
"""Largest accepted difference of a golden answer, absolute and relative: another CPU adds in another order."""


def golden_inputs(manifest: Manifest) -> list[Array]:
    """The golden rows as the graph's inputs. Raises BrokenVersion."""
    inputs = []
    for spec in manifest.tensors:
        rows = manifest.golden.inputs.get(spec.name)
        if not rows:
            raise BrokenVersion(f"manifest.json: golden: it has no rows for tensor {spec.name!r}")
        array = _array(rows, spec.dtype, f"inputs of {spec.name!r}")
        try:
            # An open size is that of the rows; of rows that are written flat there can be one.
            given = array.shape[1:] if array.ndim == len(spec.shape) else (-1,) * len(spec.shape[1:])
            sizes = (size or actual for size, actual in zip(spec.shape[1:], given, strict=True))
            inputs.append(array.reshape(len(rows), *sizes))
        except ValueError as error:
            raise BrokenVersion(f"manifest.json: golden: inputs of {spec.name!r}: {error}") from error
    return inputs


def check_golden_outputs(manifest: Manifest, outputs: Sequence[Array]) -> None:
    """Raise BrokenVersion unless the outputs for the golden rows are those that the manifest states."""
    for spec, output in zip(manifest.outputs, outputs, strict=True):
        rows = manifest.golden.outputs.get(spec.name)
        if rows is None:
            raise BrokenVersion(f"manifest.json: golden: it has no answers for output {spec.name!r}")
        if len(output.shape) != len(spec.shape) or any(
            wanted not in (size, None) for wanted, size in zip(spec.shape, output.shape, strict=True)
        ):
            raise BrokenVersion(
                f"manifest.json: outputs: it promises {spec.name!r} of shape {list(spec.shape)}, "
                f"but the graph gives {list(output.shape)}"
            )
        expected = _array(rows, spec.dtype, f"answers of {spec.name!r}")
        if expected.shape != output.shape or not _agree(expected, output, spec):
            row = _first_that_differs(expected, output, spec)
            raise BrokenVersion(
                f"golden rows: output {spec.name!r} differs from what the manifest promises, first in row {row}: "
                f"expected {_short(expected[row:])}, the graph gives {_short(output[row:])}{_other_runtime(manifest)}"
            )


def _first_that_differs(expected: Array, output: Array, spec: OutputSpec) -> int:
    """Index of a row; 0 if the shapes differ already."""
    rows = range(len(expected)) if expected.shape == output.shape else range(0)
    return next((row for row in rows if not _agree(expected[row], output[row], spec)), 0)


def _other_runtime(manifest: Manifest) -> str:
    """The likely reason, and what to do, where the graph was checked with another ONNX Runtime than this one."""
    there, here = manifest.lineage.libraries.get("onnxruntime"), version_of("onnxruntime")
    if there in (None, here):
        return ""
    return f"; it was made with ONNX Runtime {there}, this is {here}: run that one, or convert the model again"


def _agree(expected: Array, output: Array, spec: OutputSpec) -> bool:
    if output.dtype.kind == "f":
        return np.allclose(output, expected, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE, equal_nan=True)
    return np.array_equal(output.astype(NUMPY[spec.dtype]), expected)


def _array(rows: Sequence[object], dtype: DType, what: str) -> Array:
    """Values of a manifest as an array; null is NaN."""
    try:
        array = np.array(rows, dtype=object)
        if dtype != "string":
            array[array == None] = np.nan  # noqa: E711 - elementwise
        return array.astype(NUMPY[dtype])
    except (ValueError, TypeError, OverflowError) as error:
        raise BrokenVersion(f"manifest.json: golden: {what}: {error}") from error


def _short(array: Array) -> str:
    return np.array2string(array.ravel()[:4], precision=6, threshold=4) + ("…" if array.size > 4 else "")
