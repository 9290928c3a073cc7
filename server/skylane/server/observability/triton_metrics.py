"""The same figures under the names that dashboards for NVIDIA Triton read. Pure.

Source: triton-inference-server/server, docs/user_guide/metrics.md. Its counters have no `_total`, which the client
library would add, so they are reported without a type. Not reported: the number of pending requests (we count rows),
GPUs, pinned memory, and the CPU of the whole machine.
"""

from collections.abc import Callable, Iterator
from typing import Final

from skylane.server.engine.statistics import ANSWERED
from skylane.server.observability.exposition import Family, Sample, labelled
from skylane.server.observability.snapshot import Snapshot, VersionSnapshot

REASON_OF: Final = {"Overloaded": "REJECTED", "DeadlineExpired": "REJECTED", "CallCancelled": "CANCELED",
                    "ModelFailed": "BACKEND"}  # fmt: skip
"""Name of an error's class → Triton's word; the others are OTHER."""
REASONS: Final = ("REJECTED", "CANCELED", "BACKEND", "OTHER")

_US: Final = 1e6


def _answered(version: VersionSnapshot) -> float:
    return sum(outcome.requests for outcome in version.outcomes if outcome.error == ANSWERED)


_VALUES: Final[dict[str, tuple[str, Callable[[VersionSnapshot], float]]]] = {
    "nv_inference_request_success": ("Requests that were answered", _answered),
    "nv_inference_count": ("Rows that were run", lambda version: version.batch_rows.total),
    "nv_inference_exec_count": ("Batches that were run", lambda version: version.run.count),
    "nv_inference_request_duration_us": (
        "From queue to answer",
        lambda version: (version.total.total + version.hit_s) * _US,
    ),
    "nv_inference_queue_duration_us": ("Waiting", lambda version: version.queue.total * _US),
    "nv_inference_compute_input_duration_us": ("Gathering inputs", lambda version: version.gather_s * _US),
    "nv_inference_compute_infer_duration_us": ("Running the model", lambda version: version.run_s * _US),
    "nv_inference_compute_output_duration_us": ("Writing replies", lambda version: version.reply_s * _US),
    "nv_cache_num_hits_per_model": ("Answers from the cache", lambda version: version.hits),
    "nv_cache_num_misses_per_model": ("Requests not found in the cache", lambda version: version.misses),
    "nv_cache_hit_duration_per_model": ("Answering from the cache, in us", lambda version: version.hit_s * _US),
}


def families(figures: Snapshot) -> Iterator[Family]:
    """Every metric."""
    versions = figures.versions
    for name, (text, value) in _VALUES.items():
        yield Family(name, "unknown", text, [Sample(name, _labels(version), value(version)) for version in versions])
    name = "nv_inference_request_failure"
    samples = [
        Sample(name, f'{_labels(version)},reason="{reason}"', count)
        for version in versions
        for reason, count in _failures(version).items()
    ]
    yield Family(name, "unknown", "Requests that were refused", samples)
    name = "nv_model_load_duration_secs"
    samples = [
        Sample(name, labelled({"model": load.model}), load.seconds / load.loads) for load in figures.loads if load.loads
    ]
    yield Family(name, "gauge", "Loading a version of the model, on average", samples)


def _failures(version: VersionSnapshot) -> dict[str, int]:
    counts = dict.fromkeys(REASONS, 0)
    for outcome in version.outcomes:
        if outcome.error != ANSWERED:
            counts[REASON_OF.get(outcome.error, "OTHER")] += outcome.requests
    return counts


def _labels(version: VersionSnapshot) -> str:
    return labelled({"model": version.model, "version": str(version.version)})
