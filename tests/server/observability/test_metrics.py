"""The metrics page: everything documented is exported, and Prometheus's own checker finds no fault."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from skylane.server.codecs.grpc_status import STATUS_OF
from skylane.server.engine.statistics import BOUNDS_S
from skylane.server.observability.collector import ROWS_BOUNDS
from skylane.server.observability.exposition import SLICE_LINES
from skylane.server.observability.metrics import DEFINITIONS, Metrics
from skylane.server.observability.snapshot import (
    HistogramSnapshot,
    JournalSnapshot,
    LoadSnapshot,
    Outcome,
    PolicySnapshot,
    PortSnapshot,
    ProcessSnapshot,
    ReceiptSnapshot,
    Snapshot,
    SpanSnapshot,
    VersionSnapshot,
)
from skylane.server.observability.triton_metrics import REASON_OF

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
PROMTOOL = shutil.which("promtool")
STATUSES = {error.__name__: code.name for error, code in STATUS_OF.items()}
BUILD = {"version": "1", "python": "3", "onnxruntime": "1", "transport": "native"}

Sample = tuple[str, frozenset[tuple[str, str]]]


def figures() -> Snapshot:
    """Something of everything."""
    times = HistogramSnapshot([1, 2] + [0] * (len(BOUNDS_S) - 2) + [4], 0.5)
    version = VersionSnapshot(
        model="m", version=2, total=times, queue=times, run=times,
        batch_rows=HistogramSnapshot([5] + [0] * len(ROWS_BOUNDS), 5.0),
        outcomes=[Outcome("p", "", 7), Outcome("p", "InputMismatch", 1), Outcome("p", "TooManyRows", 2)],
        hits=3, misses=4, coalesced=5, queue_rows=6, cache_bytes=8, memory_bytes=9, hit_s=0.25, states={"ready": 2},
    )  # fmt: skip
    other = VersionSnapshot(model="k", version=1, outcomes=[Outcome("p", "", 1)])
    return Snapshot(
        versions=[version, other],
        rejections=[Outcome("p", "ModelNotFound", 9)],
        loads=[LoadSnapshot("m", 2, 3.0, 1)],
        policies=[PolicySnapshot("m", 2), PolicySnapshot("n", 0, 3)],
        ports=[PortSnapshot("grpc", 20, 21)],
        spans=SpanSnapshot(30, 31),
        journals=[JournalSnapshot("m", {"kept": 40, "disk": 41}, 42, 43)],
        receipts=[ReceiptSnapshot("m", {"accepted": 50, "repeated": 0, "refused": 51})],
        processes=[ProcessSnapshot(12, 1.5, 4096, 0.5)],
    )


def page(*, triton_names: bool = False, accept: str = "") -> str:
    return Metrics(STATUSES, BUILD, triton_names=triton_names).page(figures(), accept)[0].decode()


def samples(text: str) -> dict[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**more: str) -> frozenset[tuple[str, str]]:
    return frozenset({"model": "m", "version": "2", **more}.items())


def test_the_documented_table_is_the_registry() -> None:
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
    found = {
        name: (kind, unit.strip(), tuple(re.findall(r"`(\w+)`", told)), question.strip())
        for name, kind, unit, told, question in row.findall(DOCS.read_text("utf-8"))
    }
    assert found == {each.name: (each.kind, each.unit, each.labels, each.question) for each in DEFINITIONS.values()}


def test_what_is_told_is_what_is_defined_with_those_labels() -> None:
    found: dict[str, set[str]] = {}
    for name, told in samples(page()):
        base = re.sub("_(bucket|count|sum)$", "", name) if name not in DEFINITIONS else name
        found.setdefault(base, set()).update(label for label, _ in told if label != "le")
    expected = {each.name: set(each.labels) for each in DEFINITIONS.values()}
    expected["skylane_build_info"] = set(BUILD)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "told", "value"),
    [
        pytest.param("skylane_requests_total", labels(protocol="p", status="OK"), 7, id="answers"),
        pytest.param(
            "skylane_requests_total", labels(protocol="p", status="INVALID_ARGUMENT"), 3, id="errors of one status"
        ),
        pytest.param(
            "skylane_requests_total",
            frozenset({"model": "", "version": "", "protocol": "p", "status": "NOT_FOUND"}.items()),
            9,
            id="no such model: no label that a caller made up",
        ),
        pytest.param("skylane_run_duration_seconds_bucket", labels(le="5e-05"), 1, id="the first bucket"),
        pytest.param("skylane_run_duration_seconds_bucket", labels(le="10.0"), 3, id="the last bound holds all below"),
        pytest.param("skylane_run_duration_seconds_bucket", labels(le="+Inf"), 7, id="everything"),
        pytest.param("skylane_run_duration_seconds_count", labels(), 7, id="how many"),
        pytest.param("skylane_run_duration_seconds_sum", labels(), 0.5, id="how long together"),
        pytest.param("skylane_batch_rows_sum", labels(), 5, id="rows"),
        pytest.param("skylane_cache_requests_total", labels(result="coalesced"), 5, id="coalesced"),
        pytest.param("skylane_model_memory_bytes", labels(), 9, id="memory"),
        pytest.param("skylane_version_processes", labels(state="ready"), 2, id="state"),
        pytest.param("skylane_model_load_failures_total", frozenset({("model", "m")}), 1, id="failures"),
        pytest.param("skylane_policy_refused", frozenset({("model", "m")}), 2, id="a policy that is refused"),
        pytest.param("skylane_policy_refused", frozenset({("model", "n")}), 0, id="one that is followed"),
        pytest.param("skylane_model_unfollowed", frozenset({("model", "m")}), 0, id="a model that is followed"),
        pytest.param("skylane_model_unfollowed", frozenset({("model", "n")}), 3, id="one whose directory is empty"),
        pytest.param("skylane_connections", frozenset({("port", "grpc")}), 20, id="open connections"),
        pytest.param("skylane_connections_refused_total", frozenset({("port", "grpc")}), 21, id="refused ones"),
        pytest.param("skylane_trace_spans_total", frozenset({("result", "lost")}), 31, id="lost spans"),
        pytest.param(
            "skylane_journal_rows_total", frozenset({("model", "m"), ("result", "disk")}), 41, id="rows not recorded"
        ),
        pytest.param("skylane_journal_bytes_total", frozenset({("model", "m")}), 42, id="bytes of the journal"),
        pytest.param(
            "skylane_journal_event_times_refused_total", frozenset({("model", "m")}), 43, id="times that are none"
        ),
        pytest.param(
            "skylane_outcomes_total", frozenset({("model", "m"), ("result", "refused")}), 51, id="outcomes refused"
        ),
        pytest.param(
            "skylane_outcomes_total", frozenset({("model", "m"), ("result", "repeated")}), 0, id="none repeated so far"
        ),
        pytest.param("nv_inference_request_success", labels(), 7, id="Triton: answers"),
        pytest.param("nv_inference_request_failure", labels(reason="OTHER"), 3, id="Triton: refused"),
        pytest.param("nv_inference_request_duration_us", labels(), 750_000, id="Triton: microseconds, hits within"),
        pytest.param("nv_model_load_duration_secs", frozenset({("model", "m")}), 1.5, id="Triton: one load"),
    ],
)
def test_values(name: str, told: frozenset[tuple[str, str]], value: float) -> None:
    assert samples(page(triton_names=True))[name, told] == value


def many(count: int, asked: int) -> Snapshot:
    """A server of so many models, of which a few were asked."""
    times = HistogramSnapshot([1] * (len(BOUNDS_S) + 1), 0.123456)
    versions = [VersionSnapshot(model=f"m{i:04d}", version=1, memory_bytes=123_456, states={"ready": 1})
                for i in range(count)]  # fmt: skip
    for version in versions[:asked]:
        version.outcomes, version.total, version.queue, version.run = [Outcome("p", "", 18)], times, times, times
        version.batch_rows = HistogramSnapshot([1] * (len(ROWS_BOUNDS) + 1), 99.0)
    loads = [LoadSnapshot(version.model, 1, 0.123456789) for version in versions]
    policies = [PolicySnapshot(version.model) for version in versions]
    return Snapshot(versions=versions, loads=loads, policies=policies, processes=[ProcessSnapshot(1, 1.5, 4096, 0.5)])


def test_of_a_thousand_models_the_page_tells_in_full_of_those_that_were_asked() -> None:
    metrics = Metrics(STATUSES, BUILD)
    text = metrics.page(many(1000, 10), "")[0].decode()
    assert len(text) <= 200_000
    found = samples(text)
    named = {name: {model for metric, told in found for label, model in told if metric == name and label == "model"}
             for name in ("skylane_requests_total", "skylane_run_duration_seconds_count", "skylane_model_loads_total",
                          "skylane_version_processes", "skylane_model_memory_bytes")}  # fmt: skip
    assert [len(models) for models in named.values()] == [10, 10, 10, 1000, 1000]


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        pytest.param(Snapshot(loads=[LoadSnapshot("n", 1, 1.0)]), False, id="loaded, and nobody asked"),
        pytest.param(Snapshot(loads=[LoadSnapshot("n", 2, 1.0)]), True, id="loaded again"),
        pytest.param(Snapshot(loads=[LoadSnapshot("n", 0, 0.0, 1)]), True, id="could not be loaded"),
        pytest.param(Snapshot(policies=[PolicySnapshot("n", 1)]), True, id="its policy is refused"),
        pytest.param(Snapshot(policies=[PolicySnapshot("n", 0)]), False, id="its policy is followed"),
        pytest.param(
            Snapshot(versions=[VersionSnapshot(model="n", version=1, queue_rows=3)]), True, id="its first request waits"
        ),
    ],
)
def test_a_model_that_nobody_asked_is_told_of_where_there_is_something_to_tell(figures: Snapshot, told: bool) -> None:
    assert ('model="n"' in Metrics(STATUSES, BUILD).page(figures, "")[0].decode()) == told


def test_the_page_is_made_in_slices_of_a_few_lines() -> None:
    pieces = list(Metrics(STATUSES, BUILD).slices(many(1000, 1000), "text/plain"))
    assert max(piece.count(b"\n") for piece in pieces) <= 2 * SLICE_LINES
    assert sum(piece.count(b"\n") for piece in pieces) > 80_000


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_library_reads_what_we_write_as_we_mean_it(accept: str) -> None:
    """Label values that need escapes, and values that are no usual numbers."""
    name = 'a"b\\c\nd'
    version = VersionSnapshot(model=name, version=1, outcomes=[Outcome("p", "", 1)], cache_bytes=2**60)
    version.total = HistogramSnapshot([0] * (len(BOUNDS_S) + 1), float("inf"))
    text = Metrics(STATUSES, BUILD).page(Snapshot(versions=[version]), accept)[0].decode()
    parse = open_metrics if accept else text_string_to_metric_families
    found = {
        (sample.name, sample.labels.get("model")): sample.value for family in parse(text) for sample in family.samples
    }
    assert found["skylane_cache_bytes", name] == 2**60
    assert found["skylane_request_duration_seconds_sum", name] == float("inf")


def test_triton_names_are_told_only_if_asked_for() -> None:
    assert "nv_" not in page()


def test_whoever_asks_for_open_metrics_gets_it() -> None:
    assert page(accept="application/openmetrics-text; version=1.0.0", triton_names=True).endswith("# EOF\n")


def test_triton_reasons_are_of_errors_that_exist() -> None:
    assert set(REASON_OF) <= set(STATUSES)


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
def test_promtool_has_nothing_to_say() -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
