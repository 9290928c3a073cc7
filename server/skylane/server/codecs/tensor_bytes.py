"""What the Open Inference Protocol says of types and raw tensors, over gRPC and over HTTP alike. Pure.

Source: github.com/kserve/open-inference-protocol, and the binary data extension of triton-inference-server/server.
"""

import math
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Batching
from skylane.server.core.errors import InputMismatch, ModelNotFound
from skylane.server.core.text import listed, quoted
from skylane.server.core.types import Array, Interface, Route
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.engine.statistics import ANSWERED
from skylane.server.observability.snapshot import VersionSnapshot
from skylane.server.repository.repository import ModelStatus, State

DIMENSIONS_MAX: Final = 8

DATATYPE_OF: Final[dict[DType, str]] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
DTYPE_OF: Final[dict[str, DType]] = {datatype: dtype for dtype, datatype in DATATYPE_OF.items()}

EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
"""Those that work here, and no others: clients believe it."""

_STATES: Final = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.FAILED: "UNAVAILABLE",
    State.RETIRING: "UNLOADING",
}

_LENGTH: Final = struct.Struct("<I")


def read_dtype(name: str, datatype: str) -> DType:
    """The type that a request names; `name` is the tensor's. Raises InputMismatch."""
    dtype = DTYPE_OF.get(datatype)
    if dtype is None:
        raise InputMismatch(
            f"tensor {quoted(name)}: datatype: expected one of {listed(DTYPE_OF)}, received {quoted(datatype)}"
        )
    return dtype


def read_shape(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The shape that a request names. Raises InputMismatch."""
    if len(sizes) > DIMENSIONS_MAX:
        raise InputMismatch(
            f"tensor {quoted(name)}: shape: expected at most {DIMENSIONS_MAX} sizes, received {len(sizes)}"
        )
    if not sizes or min(sizes) < 0:
        raise InputMismatch(
            f"tensor {quoted(name)}: shape: expected sizes from 0 with the rows first, received {list(sizes)}"
        )
    return tuple(sizes)


def shaped(name: str, elements: Array, shape: tuple[int, ...]) -> Array:
    """The elements in this shape. Raises InputMismatch; beside a size of 0 others may be too large for numpy."""
    if elements.size != math.prod(shape):
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected {math.prod(shape)} elements for shape {list(shape)}, "
            f"received {elements.size}"
        )
    try:
        return elements.reshape(shape)
    except ValueError as error:
        raise InputMismatch(f"tensor {quoted(name)}: shape: {list(shape)} is too large") from error


def read_raw(name: str, dtype: DType, shape: tuple[int, ...], raw: bytes) -> Array:
    """A tensor from its bytes: row-major, little-endian; a string is its length in four bytes, then UTF-8.

    Raises InputMismatch.
    """
    if dtype == "string":
        return shaped(name, _read_strings(name, raw), shape)
    expected = math.prod(shape) * NUMPY[dtype].itemsize
    if len(raw) != expected:
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected {expected} bytes for {dtype} of shape {list(shape)}, "
            f"received {len(raw)}"
        )
    if dtype == "bool" and raw.strip(b"\0\1"):
        raise InputMismatch(f"tensor {quoted(name)}: data: expected bytes 0 or 1 for bool, received others")
    return shaped(name, np.frombuffer(raw, NUMPY[dtype]), shape)


def write_raw(array: Array) -> bytes:
    """The bytes of a tensor, as `read_raw` reads them."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = list[bytes]()
    for text in array.ravel().tolist():
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def model_config(interface: Interface, batching: Batching) -> dict[str, Any]:
    """What clients of Triton read of a model's configuration, as JSON of its `ModelConfig`: dims leave out the rows."""
    return {
        "name": interface.model,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": batching.max_request_rows,
        "input": [_config_of(spec) for spec in interface.tensors],
        "output": [_config_of(spec) for spec in interface.outputs],
        "dynamic_batching": {
            "preferred_batch_size": [batching.max_batch_rows],
            "max_queue_delay_microseconds": round(batching.max_queue_delay_ms * 1000),
            "default_queue_policy": {"max_queue_size": batching.max_queue_rows},
        },
        "instance_group": [{"name": interface.model, "kind": "KIND_CPU", "count": batching.instances}],
    }


def model_metadata(interface: Interface, versions: Iterable[int]) -> dict[str, Any]:
    """What a model takes and gives, as JSON of `ModelMetadataResponse`; the rows come first, and are -1."""
    return {
        "name": interface.model,
        "versions": [str(version) for version in sorted(versions)],
        "platform": "onnxruntime_onnx",
        "inputs": [_metadata_of(spec) for spec in interface.tensors],
        "outputs": [_metadata_of(spec) for spec in interface.outputs],
    }


def model_statistics(told: VersionSnapshot) -> dict[str, Any]:
    """What a version has answered, as JSON of `ModelStatistics`."""
    ran = told.total.count
    by_outcome = Counter[bool]()
    for outcome in told.outcomes:
        by_outcome[outcome.error == ANSWERED] += outcome.requests
    return {
        "name": told.model,
        "version": str(told.version),
        "last_inference": round(told.last_at * 1e3),
        "inference_count": round(told.batch_rows.total),
        "execution_count": told.run.count,
        "inference_stats": {
            "success": _duration(by_outcome[True], told.total.total + told.hit_s),
            "fail": _duration(by_outcome[False], 0.0),
            "queue": _duration(ran, told.queue.total),
            "compute_input": _duration(ran, told.gather_s),
            "compute_infer": _duration(ran, told.run_s),
            "compute_output": _duration(ran, told.reply_s),
            "cache_hit": _duration(told.hits, told.hit_s),
            "cache_miss": _duration(told.misses, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": size.rows,
                "compute_input": _duration(size.executions, size.gather_s),
                "compute_infer": _duration(size.executions, size.run_s),
                "compute_output": _duration(size.executions, size.reply_s),
            }
            for size in sorted(told.sizes, key=lambda size: size.rows)
        ],
    }


def index(status: Mapping[str, ModelStatus], unloaded: Collection[str]) -> list[dict[str, str]]:
    """Every version of these models with its state, as JSON of `RepositoryIndexResponse.models`."""
    known = [
        {"name": name, "version": str(version), "state": _STATES[told.state], "reason": told.reason}
        for name, model in status.items()
        for version, told in model.versions.items()
    ]
    gone = sorted(set(unloaded) - status.keys())  # the others are still finishing what they have begun
    return known + [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"} for name in gone]


def is_ready(route: Route, status: Mapping[str, ModelStatus], routes: Routes) -> bool:
    """Whether what the route names answers. Raises ModelNotFound if it is not known at all."""
    known = status.get(route.model)
    if known is None or (route.version is not None and route.version not in known.versions):
        routes.served_version(route)  # raises what a request for it would hear
    try:
        routes.served_version(route)
    except ModelNotFound:
        return False
    return True


def served_versions_of(routes: Routes, route: Route | None) -> list[ServedVersion]:
    """Whose statistics are asked for: of one version, of a model's versions, or of all. Raises ModelNotFound."""
    if route is None:
        return [served_version for model in routes.models.values() for served_version in model.versions.values()]
    served_version = routes.served_version(route)
    return [served_version] if route.version is not None else list(routes.models[route.model].versions.values())


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}


def _metadata_of(spec: TensorSpec | OutputSpec) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in spec.shape]
    return {"name": spec.name, "datatype": DATATYPE_OF[spec.dtype], "shape": shape}


def _config_of(spec: TensorSpec | OutputSpec) -> dict[str, Any]:
    datatype = DATATYPE_OF[spec.dtype]
    dims = [-1 if size is None else size for size in spec.shape[1:]]
    return {"name": spec.name, "data_type": f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}", "dims": dims}


def _read_strings(name: str, raw: bytes) -> Array:
    texts, place = list[str](), 0
    try:
        while place < len(raw):
            start = place + _LENGTH.size
            place = start + _LENGTH.unpack_from(raw, place)[0]
            if place > len(raw):
                raise InputMismatch(
                    f"tensor {quoted(name)}: data: element {len(texts)} has {place - start} bytes by its length, but "
                    f"{len(raw) - start} are left"
                )
            texts.append(raw[start:place].decode())
    except struct.error as error:
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected a length of 4 bytes before element {len(texts)}, "
            f"{len(raw) - place} are left"
        ) from error
    except UnicodeDecodeError as error:
        raise InputMismatch(
            f"tensor {quoted(name)}: strings: expected UTF-8, received {error.object[:20]!r}"
        ) from error
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
