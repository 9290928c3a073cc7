"""The page of metrics: what is documented is told, and Prometheus's own checker finds nothing to complain of."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skylane.server.codecs.grpc_status import STATUS_OF
from skylane.server.engine.statistics import BOUNDS_S
from skylane.server.observability.collector import ROWS_BOUNDS
from skylane.server.observability.metrics import DEFINITIONS, Metrics
from skylane.server.observability.snapshot import (
    HistogramSnapshot,
    LoadSnapshot,
    Outcome,
    PolicySnapshot,
    PortSnapshot,
    ProcessSnapshot,
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
    return Snapshot(
        versions=[version],
        rejections=[Outcome("p", "ModelNotFound", 9)],
        loads=[LoadSnapshot("m", 2, 3.0, 1)],
        policies=[PolicySnapshot("m", 2), PolicySnapshot("n", 0)],
        ports=[PortSnapshot("grpc", 20, 21)],
        spans=SpanSnapshot(30, 31),
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
        pytest.param("skylane_connections", frozenset({("port", "grpc")}), 20, id="open connections"),
        pytest.param("skylane_connections_refused_total", frozenset({("port", "grpc")}), 21, id="refused ones"),
        pytest.param("skylane_trace_spans_total", frozenset({("result", "lost")}), 31, id="lost spans"),
        pytest.param("nv_inference_request_success", labels(), 7, id="Triton: answers"),
        pytest.param("nv_inference_request_failure", labels(reason="OTHER"), 3, id="Triton: refused"),
        pytest.param("nv_inference_request_duration_us", labels(), 750_000, id="Triton: microseconds, hits within"),
        pytest.param("nv_model_load_duration_secs", frozenset({("model", "m")}), 1.5, id="Triton: one load"),
    ],
)
def test_values(name: str, told: frozenset[tuple[str, str]], value: float) -> None:
    assert samples(page(triton_names=True))[name, told] == value


def test_triton_names_are_told_only_if_asked_for() -> None:
    assert "nv_" not in page()


def test_whoever_asks_for_open_metrics_gets_it() -> None:
    assert page(accept="application/openmetrics-text; version=1.0.0", triton_names=True).endswith("# EOF\n")


def test_triton_reasons_are_of_errors_that_exist() -> None:
    assert set(REASON_OF) <= set(STATUSES)


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
def test_promtool_has_nothing_to_say() -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
