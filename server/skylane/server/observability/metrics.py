"""Every metric: its name, its unit, its labels, and the question it answers; and the page that Prometheus reads.

Computed from a snapshot when the page is requested: nothing here is on the request path. docs/metrics.md has the same
table; a test compares them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from skylane.server.engine.statistics import BOUNDS_S
from skylane.server.observability import exposition, triton_metrics
from skylane.server.observability.collector import ROWS_BOUNDS
from skylane.server.observability.exposition import Family, Sample, labelled
from skylane.server.observability.snapshot import (
    HistogramSnapshot,
    JournalSnapshot,
    LoadSnapshot,
    Snapshot,
    VersionSnapshot,
)

Kind = Literal["counter", "gauge", "histogram", "info"]
Values = Iterator[tuple[Sequence[str], float | HistogramSnapshot]]

OK: Final = "OK"


@dataclass(frozen=True)
class Definition:
    """What one metric is."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    question: str


VERSION: Final = ("model", "version")

DEFINITIONS: Final = {
    definition.name: definition
    for definition in (
        Definition(
            "skylane_requests_total", "counter", "requests", (*VERSION, "protocol", "status"),
            "How many requests were answered, by which version, over which protocol, with which status?",
        ),
        Definition(
            "skylane_request_duration_seconds", "histogram", "seconds", VERSION,
            "How long does a request take from entering the queue to its answer, if the model runs for it?",
        ),
        Definition(
            "skylane_queue_duration_seconds", "histogram", "seconds", VERSION,
            "How much of that is spent in the queue?",
        ),
        Definition(
            "skylane_run_duration_seconds", "histogram", "seconds", VERSION,
            "How long does ONNX Runtime take for a batch? Its count is the number of executions.",
        ),
        Definition(
            "skylane_batch_rows", "histogram", "rows", VERSION,
            "How large are the batches? Its sum is the number of rows that were run.",
        ),
        Definition(
            "skylane_queue_rows", "gauge", "rows", VERSION,
            "How many rows are queued now?",
        ),
        Definition(
            "skylane_cache_requests_total", "counter", "requests", (*VERSION, "result"),
            "How many requests were answered from the cache (hit), or by an equal one in flight (coalesced)?",
        ),
        Definition(
            "skylane_cache_bytes", "gauge", "bytes", VERSION,
            "How much memory do cached answers use?",
        ),
        Definition(
            "skylane_model_memory_bytes", "gauge", "bytes", VERSION,
            "How much memory did ONNX Runtime allocate when the version was loaded, in all workers together?",
        ),
        Definition(
            "skylane_version_processes", "gauge", "processes", (*VERSION, "state"),
            "In how many processes is each version loading, ready, failed or retiring?",
        ),
        Definition(
            "skylane_model_loads_total", "counter", "loads", ("model",),
            "How often was a version of this model loaded?",
        ),
        Definition(
            "skylane_model_load_seconds_total", "counter", "seconds", ("model",),
            "How long did these loads take, with verification, warm-up and timing?",
        ),
        Definition(
            "skylane_model_load_failures_total", "counter", "loads", ("model",),
            "How often was a version refused?",
        ),
        Definition(
            "skylane_policy_refused", "gauge", "processes", ("model",),
            "In how many processes is its model.toml invalid, so that an earlier policy is in force, or none?",
        ),
        Definition(
            "skylane_model_unfollowed", "gauge", "processes", ("model",),
            "In how many processes does it stay in service although its directory lost all versions or cannot be read?",
        ),
        Definition(
            "skylane_connections", "gauge", "connections", ("port",),
            "How many are open?",
        ),
        Definition(
            "skylane_connections_refused_total", "counter", "connections", ("port",),
            "How many were closed immediately because the limit of the port was reached?",
        ),
        Definition(
            "skylane_trace_spans_total", "counter", "spans", ("result",),
            "How many spans were accepted by the collector (sent), and how many were dropped (lost)?",
        ),
        Definition(
            "skylane_journal_rows_total", "counter", "rows", ("model", "result"),
            "How many answered rows were recorded (kept), and how many were not, for which reason?",
        ),
        Definition(
            "skylane_journal_bytes_total", "counter", "bytes", ("model",),
            "How many bytes were written to segments of the journal?",
        ),
        Definition(
            "skylane_journal_event_times_refused_total", "counter", "rows", ("model",),
            "How many recorded rows have an `event_time` that is no instant, for example because it has no zone?",
        ),
        Definition(
            "skylane_outcomes_total", "counter", "outcomes", ("model", "result"),
            "How many outcomes were accepted or refused? How many accepted ones are repeated, corrected or unknown?",
        ),
        Definition(
            "skylane_processes", "gauge", "processes", (),
            "How many workers are running?",
        ),
        Definition(
            "skylane_process_resident_memory_bytes", "gauge", "bytes", ("pid",),
            "How much memory does each worker use, including ONNX Runtime's?",
        ),
        Definition(
            "skylane_process_cpu_seconds_total", "counter", "seconds", ("pid",),
            "How much CPU time has each worker used?",
        ),
        Definition(
            "skylane_process_start_time_seconds", "gauge", "seconds since 1970", ("pid",),
            "When did each worker start?",
        ),
        Definition(
            "skylane_build_info", "info", "", ("version", "python", "onnxruntime", "transport"),
            "What is running?",
        ),
    )
}  # fmt: skip


class Metrics:
    """Writes a snapshot in the format that Prometheus reads."""

    def __init__(self, statuses: Mapping[str, str], build: Mapping[str, str], *, triton_names: bool = False) -> None:
        """`statuses`: name of an error's class → the status that its callers saw. `build`: labels of build_info."""
        self._statuses, self._build, self._triton_names = statuses, build, triton_names

    def page(self, figures: Snapshot, accept: str) -> tuple[bytes, str]:
        """The page and its media type: OpenMetrics if it is accepted, else Prometheus's text."""
        media_type = exposition.media_type(accept)
        return b"".join(self.slices(figures, media_type)), media_type

    def slices(self, figures: Snapshot, media_type: str) -> Iterator[bytes]:
        """The page in slices, between which the caller may let others run."""
        return exposition.slices(self._families(figures), media_type)

    def _families(self, figures: Snapshot) -> Iterator[Family]:
        busy = without_idle(figures)
        for name, definition in DEFINITIONS.items():
            if definition.kind == "info":
                samples = iter([Sample(name, labelled(self._build), 1)])
            else:
                samples = _samples(definition, self._values(name)(figures if name in ALWAYS_REPORTED else busy))
            yield Family(name, definition.kind, definition.question, samples)
        if self._triton_names:
            yield from triton_metrics.families(busy)

    def _values(self, name: str) -> Callable[[Snapshot], Values]:
        if name == "skylane_requests_total":
            return self._requests
        return _VALUES[name]

    def _requests(self, figures: Snapshot) -> Values:
        counted = dict[tuple[str, ...], int]()
        rejections = VersionSnapshot(model="", version=0, outcomes=figures.rejections)
        for version in (rejections, *figures.versions):
            for outcome in version.outcomes:
                status = self._statuses.get(outcome.error, outcome.error) or OK
                labels = (*_labels(version), outcome.protocol, status)
                counted[labels] = counted.get(labels, 0) + outcome.requests
        yield from counted.items()


def _samples(definition: Definition, values: Values) -> Iterator[Sample]:
    name = definition.name
    bounds = ROWS_BOUNDS if definition.unit == "rows" else BOUNDS_S
    for label_values, value in values:
        labels = labelled(dict(zip(definition.labels, label_values, strict=True)))
        if not isinstance(value, HistogramSnapshot):
            yield Sample(name, labels, value)
            continue
        for bound, count in _cumulative(value, bounds):
            yield Sample(f"{name}_bucket", f'{labels},le="{bound}"', count)
        yield Sample(f"{name}_count", labels, value.count)
        yield Sample(f"{name}_sum", labels, value.total)


def _cumulative(histogram: HistogramSnapshot, bounds: Sequence[float]) -> Iterator[tuple[str, int]]:
    """(upper bound, count of values up to it), as in Prometheus's format."""
    so_far = 0
    for bound, count in zip((*map(str, bounds), "+Inf"), histogram.buckets or [0] * (len(bounds) + 1), strict=True):
        so_far += count
        yield bound, so_far


def _labels(version: VersionSnapshot) -> tuple[str, str]:
    """Empty for requests that reached no model, whatever name they contain: callers must not create labels."""
    return version.model, str(version.version) if version.version else ""


ALWAYS_REPORTED: Final = frozenset({"skylane_version_processes", "skylane_model_memory_bytes"})
"""The only metrics of models without requests: for a thousand such models, all metrics are megabytes of zeros."""


def without_idle(figures: Snapshot) -> Snapshot:
    """Without versions that had no requests, and without models that had no event: a second load, a failed load, or a
    refused policy."""
    versions = [version for version in figures.versions if version.outcomes or version.queue_rows]
    models = {version.model for version in versions}
    loads = [each for each in figures.loads if each.model in models or each.failures or each.loads > 1]
    policies = [each for each in figures.policies if each.model in models or each.refused or each.unfollowed]
    return msgspec.structs.replace(figures, versions=versions, loads=loads, policies=policies)


def _each(value: Callable[[VersionSnapshot], float | HistogramSnapshot]) -> Callable[[Snapshot], Values]:
    return lambda figures: ((_labels(version), value(version)) for version in figures.versions)


def _loads(value: Callable[[LoadSnapshot], float]) -> Callable[[Snapshot], Values]:
    return lambda figures: (((each.model,), value(each)) for each in figures.loads)


def _cache(figures: Snapshot) -> Values:
    for version in figures.versions:
        for result, count in (("hit", version.hits), ("miss", version.misses), ("coalesced", version.coalesced)):
            yield (*_labels(version), result), count


def _states(figures: Snapshot) -> Values:
    for version in figures.versions:
        for state, count in version.states.items():
            yield (*_labels(version), state), count


def _spans(figures: Snapshot) -> Values:
    yield ("sent",), figures.spans.sent
    yield ("lost",), figures.spans.lost


def _journal_rows(figures: Snapshot) -> Values:
    for journal in figures.journals:
        for result, rows in journal.rows.items():
            yield (journal.model, result), rows


def _journals(value: Callable[[JournalSnapshot], float]) -> Callable[[Snapshot], Values]:
    return lambda figures: (((each.model,), value(each)) for each in figures.journals)


def _outcomes(figures: Snapshot) -> Values:
    for receipt in figures.receipts:
        for result, outcomes in receipt.outcomes.items():
            yield (receipt.model, result), outcomes


_VALUES: Final[Mapping[str, Callable[[Snapshot], Values]]] = {
    "skylane_request_duration_seconds": _each(lambda version: version.total),
    "skylane_queue_duration_seconds": _each(lambda version: version.queue),
    "skylane_run_duration_seconds": _each(lambda version: version.run),
    "skylane_batch_rows": _each(lambda version: version.batch_rows),
    "skylane_queue_rows": _each(lambda version: version.queue_rows),
    "skylane_cache_requests_total": _cache,
    "skylane_cache_bytes": _each(lambda version: version.cache_bytes),
    "skylane_model_memory_bytes": lambda figures: (
        (_labels(version), version.memory_bytes) for version in figures.versions if version.memory_bytes
    ),
    "skylane_version_processes": _states,
    "skylane_model_loads_total": _loads(lambda each: each.loads),
    "skylane_model_load_seconds_total": _loads(lambda each: round(each.seconds, 6)),
    "skylane_model_load_failures_total": _loads(lambda each: each.failures),
    "skylane_policy_refused": lambda figures: (((each.model,), each.refused) for each in figures.policies),
    "skylane_model_unfollowed": lambda figures: (((each.model,), each.unfollowed) for each in figures.policies),
    "skylane_connections": lambda figures: (((each.port,), each.open) for each in figures.ports),
    "skylane_connections_refused_total": lambda figures: (((each.port,), each.refused) for each in figures.ports),
    "skylane_trace_spans_total": _spans,
    "skylane_journal_rows_total": _journal_rows,
    "skylane_journal_bytes_total": _journals(lambda each: each.written_bytes),
    "skylane_journal_event_times_refused_total": _journals(lambda each: each.event_times_refused),
    "skylane_outcomes_total": _outcomes,
    "skylane_processes": lambda figures: iter([((), len(figures.processes))]),
    "skylane_process_resident_memory_bytes": lambda figures: (
        ((str(each.pid),), each.resident_bytes) for each in figures.processes
    ),
    "skylane_process_cpu_seconds_total": lambda figures: (((str(each.pid),), each.cpu_s) for each in figures.processes),
    "skylane_process_start_time_seconds": lambda figures: (
        ((str(each.pid),), each.started_at) for each in figures.processes
    ),
}
