"""Metrics of a real server: they agree with the Open Inference Protocol's statistics, and survive a worker's death."""

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from skylane.server.codecs.descriptor_pool import methods
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.core.settings import Transport
from support import foreign, models
from support.calls import ask, features, open_channel, predict
from support.http import Http, infer, tensor
from support.process import Served
from support.server import serving

ONE = infer(tensor("features", features(1)))


def samples(http: Http) -> dict[str, dict[tuple[str, ...], float]]:
    """Name → values of the labels, sorted by the label → value."""
    http.send("GET", "/metrics")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(http.answer().body.decode()):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


def predictions(told: dict[str, dict[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    """Requests without those that only looked at the server, as for its metrics."""
    return {key: value for key, value in told["skylane_requests_total"].items() if key[1] not in ("http", "grpc")}


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_metrics_agree_with_the_statistics_of_the_protocol(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    (tmp_path / "linear" / "model.toml").write_text("[cache]\nenabled = true\n")
    with serving(tmp_path, transport, http_port=0) as running, Http(running.http_port) as http:
        with open_channel(running.address) as channel:
            call = predict(channel)
            for seed in (1, 2, 2, 2):
                call(ask("linear", features=features(3, seed=seed)), timeout=60)
            for model, rows in (("linear", features(1, width=2)), ("nobody", features(1))):
                with pytest.raises(grpc.RpcError):
                    call(ask(model, features=rows), timeout=60)
        assert http.post("/v2/models/linear/infer", ONE).status == 200
        http.send("GET", "/v2/models/linear/versions/1/stats")
        (stats,) = http.answer().json["model_stats"]
        told = samples(http)
    _agree(told, stats)
    assert predictions(told) == {
        ("", "skylane_grpc", "NOT_FOUND", ""): 1,
        ("linear", "skylane_grpc", "OK", "1"): 4,
        ("linear", "skylane_grpc", "INVALID_ARGUMENT", "1"): 1,
        ("linear", "oip_http", "OK", "1"): 1,
    }
    assert told["skylane_cache_requests_total"] == {
        ("linear", "hit", "1"): 2,
        ("linear", "miss", "1"): 3,
        ("linear", "coalesced", "1"): 0,
    }
    assert told["skylane_version_processes"] == {("linear", "ready", "1"): 1}
    assert told["skylane_cache_bytes"]["linear", "1"] > 0
    assert told["skylane_model_loads_total"] == {("linear",): 1}
    assert told["skylane_queue_rows"] == {("linear", "1"): 0}
    assert told["skylane_trace_spans_total"] == {("sent",): 0, ("lost",): 0}


def _agree(told: dict[str, dict[tuple[str, ...], float]], stats: dict[str, Any]) -> None:
    """The same counts and times under both names."""
    of = ("linear", "1")
    counted = stats["inference_stats"]
    assert told["skylane_run_duration_seconds_count"][of] == stats["execution_count"]
    assert told["skylane_batch_rows_sum"][of] == stats["inference_count"]
    assert told["skylane_queue_duration_seconds_count"][of] == counted["queue"]["count"]
    assert told["skylane_queue_duration_seconds_sum"][of] * 1e9 == pytest.approx(counted["queue"]["ns"], abs=1)
    for word, status in (("success", {"OK"}), ("fail", {"INVALID_ARGUMENT"})):
        requests = told["skylane_requests_total"].items()
        found = sum(value for (model, _, code, _), value in requests if model and code in status)
        assert found == counted[word]["count"]
    hits = told["skylane_cache_requests_total"]["linear", "hit", "1"]
    misses = told["skylane_cache_requests_total"]["linear", "miss", "1"]
    assert (hits, misses) == (counted["cache_hit"]["count"], counted["cache_miss"]["count"])


def test_connections_that_there_is_no_room_for_are_counted_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models.linear(tmp_path)
    with (
        serving(tmp_path, http_port=0, max_connections=1) as running,
        Http(running.http_port) as http,
        open_channel(running.address) as channel,
    ):
        predict(channel)(ask("linear", features=features(1)), timeout=60)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.app.listener.port), timeout=60) as refused:
                assert refused.recv(1) == b""
        told = samples(http)
    assert told["skylane_connections"] == {("grpc",): 1, ("http",): 1}
    assert told["skylane_connections_refused_total"] == {("grpc",): 3, ("http",): 0}
    assert "--max-connections allows more" in caplog.text


def test_without_our_front_nothing_is_told_of_its_connections(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, "grpcio", http_port=0) as running, Http(running.http_port) as http:
        assert samples(http)["skylane_connections"] == {("http",): 1}


def test_spans_that_find_no_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    models.linear(tmp_path)
    with (
        serving(tmp_path, http_port=0, traces="console", trace_sample=1.0) as running,
        Http(running.http_port) as http,
    ):
        for _ in range(4):
            assert http.post("/v2/models/linear/infer", ONE).status == 200
        told = samples(http)["skylane_trace_spans_total"]
    assert told["lost",] >= 4 * 5  # each but that of the batch


def test_counters_go_on_when_the_policy_changes(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0, triton_metrics=True) as running, Http(running.http_port) as http:
        assert http.post("/v2/models/linear/infer", ONE).status == 200
        (tmp_path / "linear" / "model.toml").write_text("[batching]\nmax_batch_rows = 7\n")
        running.refresh()
        assert http.post("/v2/models/linear/infer", ONE).status == 200
        told = samples(http)
    assert predictions(told) == {("linear", "oip_http", "OK", "1"): 2}
    assert told["nv_inference_request_success"] == {("linear", "1"): 2}


def test_whichever_worker_is_asked_tells_of_all_and_a_dead_one_counts_on(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with Served("--models", str(tmp_path), "--workers", "2", "--http-port", "0", "--poll-s", "0") as served:
        at = re.search(r"http://127.0.0.1:(\d+)", served.until("HTTP on"))
        found = re.search(r" on (\S+) with 2 workers \(pids (\d+), (\d+)\)", served.until("with 2 workers"))
        assert at
        assert found
        pids = {found[2], found[3]}
        connections = [Http(int(at[1])) for _ in range(8)]
        for number, http in enumerate(connections, 1):
            assert http.post("/v2/models/linear/infer", ONE).status == 200
            told = samples(http)
            assert sum(predictions(told).values()) == number
            assert {pid for (pid,) in told["skylane_process_resident_memory_bytes"]} == pids
            (stats,) = http.get("/v2/models/linear/stats").json["model_stats"]
            assert stats["inference_stats"]["success"]["count"] == number
            _agree(told, stats)
        for http in connections:
            http.connection.close()
        with open_channel(found[1]) as channel:
            asked, _ = methods(OIP)["ModelStatistics"]
            (over_grpc,) = foreign.call(channel, OIP, "ModelStatistics")(asked(name="linear")).model_stats
        assert over_grpc.inference_stats.success.count == len(connections)
        assert sum(each.compute_infer.count for each in over_grpc.batch_stats) == over_grpc.execution_count
        os.kill(int(found[2]), signal.SIGKILL)
        served.until("is ready after")
        for number in range(9, 13):
            with Http(int(at[1])) as http:
                assert http.post("/v2/models/linear/infer", ONE).status == 200
                assert sum(predictions(samples(http)).values()) == number
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
