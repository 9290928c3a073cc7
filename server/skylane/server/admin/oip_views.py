"""Models and versions as the Open Inference Protocol describes them, over gRPC and HTTP: metadata, configuration,
statistics, the repository's index. Pure.

Source: github.com/kserve/open-inference-protocol and triton-inference-server/server.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Batching
from skylane.server.codecs.tensor_bytes import DATATYPE_OF
from skylane.server.core.errors import ModelNotFound, StillLoading
from skylane.server.core.types import Interface, Route
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.engine.statistics import ANSWERED
from skylane.server.observability.snapshot import VersionSnapshot
from skylane.server.repository.repository import ModelStatus, State

EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
"""The supported extensions: clients rely on this list."""


_STATES: Final = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.FAILED: "UNAVAILABLE",
    State.RETIRING: "UNLOADING",
}


def model_config(interface: Interface, batching: Batching) -> dict[str, Any]:
    """The configuration that Triton's clients read, as JSON of `ModelConfig`; dims do not include the rows."""
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
    """Inputs and outputs of a model, as JSON of `ModelMetadataResponse`; the rows are the first dimension, -1."""
    return {
        "name": interface.model,
        "versions": [str(version) for version in sorted(versions)],
        "platform": "onnxruntime_onnx",
        "inputs": [_metadata_of(spec) for spec in interface.tensors],
        "outputs": [_metadata_of(spec) for spec in interface.outputs],
    }


def model_statistics(snapshot: VersionSnapshot) -> dict[str, Any]:
    """Statistics of a version, as JSON of `ModelStatistics`."""
    ran = snapshot.total.count
    by_outcome = Counter[bool]()
    for outcome in snapshot.outcomes:
        by_outcome[outcome.error == ANSWERED] += outcome.requests
    return {
        "name": snapshot.model,
        "version": str(snapshot.version),
        "last_inference": round(snapshot.last_at * 1e3),
        "inference_count": round(snapshot.batch_rows.total),
        "execution_count": snapshot.run.count,
        "inference_stats": {
            "success": _duration(by_outcome[True], snapshot.total.total + snapshot.hit_s),
            "fail": _duration(by_outcome[False], 0.0),
            "queue": _duration(ran, snapshot.queue.total),
            "compute_input": _duration(ran, snapshot.gather_s),
            "compute_infer": _duration(ran, snapshot.run_s),
            "compute_output": _duration(ran, snapshot.reply_s),
            "cache_hit": _duration(snapshot.hits, snapshot.hit_s),
            "cache_miss": _duration(snapshot.misses, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": size.rows,
                "compute_input": _duration(size.executions, size.gather_s),
                "compute_infer": _duration(size.executions, size.run_s),
                "compute_output": _duration(size.executions, size.reply_s),
            }
            for size in sorted(snapshot.sizes, key=lambda size: size.rows)
        ],
    }


def index(status: Mapping[str, ModelStatus], unloaded: Collection[str]) -> list[dict[str, str]]:
    """Every version of these models with its state, as JSON of `RepositoryIndexResponse.models`."""
    entries = [
        {"name": name, "version": str(version), "state": _STATES[each.state], "reason": each.reason}
        for name, model in status.items()
        for version, each in model.versions.items()
    ]
    gone = sorted(set(unloaded) - status.keys())  # the others still finish their requests
    return entries + [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"} for name in gone]


def is_ready(route: Route, status: Mapping[str, ModelStatus], routes: Routes) -> bool:
    """Whether the route's version answers. Raises ModelNotFound if it does not exist."""
    model = status.get(route.model)
    exists = model is not None and (route.version is None or route.version in model.versions)
    try:
        routes.served_version(route)
    except StillLoading:
        return False
    except ModelNotFound:
        if exists:
            return False
        raise
    return True


def served_versions_of(routes: Routes, route: Route | None) -> list[ServedVersion]:
    """The versions of a route: one, all of a model, or without a route all. Raises ModelNotFound."""
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
