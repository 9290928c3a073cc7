"""What the Open Inference Protocol says of models and versions, over gRPC and over HTTP alike: metadata, configuration,
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
"""Those that work here, and no others: clients believe it."""


_STATES: Final = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.FAILED: "UNAVAILABLE",
    State.RETIRING: "UNLOADING",
}


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
    is_known = known is not None and (route.version is None or route.version in known.versions)
    try:
        routes.served_version(route)
    except StillLoading:
        return False
    except ModelNotFound:
        if is_known:
            return False
        raise
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
