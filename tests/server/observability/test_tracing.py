"""Traces out of a real server with real clients, as a real collector sees them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.server.core.settings import Transport
from support import models
from support.calls import PREDICT, Array, ask, features, open_channel, predict, predict_stream, raw
from support.collector import ERROR, INTERNAL, UNSET, Collector, Span, collecting, collecting_by_http
from support.foreign import arrays_of, infer_raw, tensorflow
from support.http import Http, infer, tensor
from support.process import Served
from support.server import Gate, RunningServer, serving

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = ("traceparent", f"00-{TRACE}-{SPAN}-01")
UNSAMPLED = ("traceparent", f"00-{TRACE}-{SPAN}-00")
INFER = "/inference.GRPCInferenceService/ModelInfer"
TENSORFLOW = "/tensorflow.serving.PredictionService/Predict"
ONE = infer(tensor("features", features(1)))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where servers of this test send their spans, but for the last only when they end."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`linear` keeps its answers; `touchy` fails on what is no number."""
    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.touchy(root)
    (root / "linear" / "model.toml").write_text("[cache]\nenabled = true\n")
    return root


def call(server: RunningServer, path: str, message: Any, *metadata: tuple[str, str], timeout: float = 60) -> Any:
    """The status of one call on a connection of its own."""
    with open_channel(server.address) as channel:
        try:
            raw(channel, path)(message.SerializeToString(), metadata=metadata, timeout=timeout)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def texts(*rows: str) -> Array:
    """Rows for `touchy`."""
    return np.array([[row] for row in rows], object)


@pytest.mark.parametrize(
    ("path", "made", "protocol"),
    [
        pytest.param(PREDICT, lambda request: request, "skylane_grpc", id="ours"),
        pytest.param(INFER, infer_raw, "oip_grpc", id="Open Inference Protocol"),
        pytest.param(TENSORFLOW, lambda it: tensorflow(it, arrays_of(it)), "tfs_grpc", id="TensorFlow Serving"),
    ],
)
def test_a_request_is_a_span_with_its_parts_below_it(
    collector: Collector,
    repository: Path,
    transport: Transport,
    path: str,
    made: Callable[[Any], Any],
    protocol: str,
) -> None:
    message = made(ask("linear", features=features(3)))
    with serving(repository, transport, traces="otlp", trace_sample=0.0) as server:
        call(server, path, message, PARENT, ("tracestate", "vendor=1"), ("x-request-id", "checkout-7"))
    (request,) = collector.requests
    service, method = path[1:].split("/")
    assert (request.trace, request.parent, request.state) == (TRACE, SPAN, "vendor=1")
    assert (request.name, request.status, request.links) == (path[1:], UNSET, [])
    assert request.told == {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": 0,
        "skylane.protocol": protocol,
        "skylane.request_id": "checkout-7",
        "skylane.model.name": "linear",
        "skylane.model.version": 1,
        "skylane.rows": 3,
        "skylane.batch.rows": 3,
    }
    parts = collector.children(request)
    assert list(parts) == ["decode", "queue", "run", "encode"]
    assert {part.kind for part in parts.values()} == {INTERNAL}
    (batch,) = collector.named("batch")
    assert batch.trace != TRACE
    assert (batch.parent, batch.links) == ("", [(TRACE, request.id)])
    assert parts["run"].links == [(batch.trace, batch.id)]
    told = {"skylane.batch.rows": 3, "skylane.batch.requests": 1}
    assert batch.told == {"skylane.model.name": "linear", "skylane.model.version": 1, **told}
    assert parts["run"].told == told
    _in_order(request, *parts.values())
    assert (request.resource["service.name"], request.resource["service.version"]) == ("skylane", "0.1.0")


def _in_order(request: Span, *parts: Span) -> None:
    """One after another, within the request."""
    instants = [request.begins, *(at for part in parts for at in (part.begins, part.ends)), request.ends]
    assert instants == sorted(instants)


@pytest.mark.parametrize(
    ("sample", "metadata", "traced"),
    [
        pytest.param(0.0, [PARENT], [TRACE], id="as the parent says, whatever our share"),
        pytest.param(1.0, [UNSAMPLED], [], id="nor does our share matter if it says no"),
        pytest.param(0.0, [], [], id="no parent, no share"),
        pytest.param(1.0, [], ["new"], id="no parent, all begin a trace"),
        pytest.param(1.0, [("traceparent", f"00-{TRACE}-{SPAN}")], ["new"], id="a malformed parent is none"),
        pytest.param(0.0, [("traceparent", f"00-{TRACE}-{SPAN}")], [], id="none at all"),
    ],
)
def test_who_is_traced(
    collector: Collector,
    repository: Path,
    transport: Transport,
    sample: float,
    metadata: list[tuple[str, str]],
    traced: list[str],
) -> None:
    with (
        serving(repository, transport, traces="otlp", trace_sample=sample, http_port=0) as server,
        Http(server.http_port) as http,
    ):
        call(server, PREDICT, ask("linear", features=features(1)), *metadata)
        http.connection.putrequest("POST", "/v2/models/linear/infer")
        body = json.dumps(ONE).encode()
        for name, value in [*metadata, ("content-length", str(len(body)))]:
            http.connection.putheader(name, value)
        http.connection.endheaders(body)
        assert http.answer().status == 200
    found = [("new" if span.trace != TRACE else TRACE, span.parent) for span in collector.requests]
    assert found == [(which, "" if which == "new" else SPAN) for which in traced * 2]


def test_the_same_connection_asks_with_and_without_a_parent(
    collector: Collector, repository: Path, transport: Transport
) -> None:
    """Headers that the transport caches for one request must not make others its siblings."""
    spans = [f"{number:016x}" for number in range(1, 21)]
    with serving(repository, transport, traces="otlp", trace_sample=0.0) as server, open_channel(server.address) as it:
        for span in spans:
            flag = int(span, 16) % 2
            rows = features(1, seed=int(span, 16))
            for metadata in ((("traceparent", f"00-{TRACE}-{span}-0{flag}"), ("x-request-id", span)), ()):
                predict(it)(ask("linear", features=rows), metadata=metadata, timeout=60)
    assert [request.parent for request in collector.requests] == spans[::2]


@pytest.mark.parametrize(
    ("path", "message", "code", "told", "status"),
    [
        pytest.param(
            PREDICT,
            ask("nobody", features=features(1)),
            5,
            {"skylane.refused": "ModelNotFound", "skylane.model.name": "nobody"},
            UNSET,
            id="a model that is not there",
        ),
        pytest.param(
            PREDICT,
            ask("linear", features=features(1, width=2)),
            3,
            {"skylane.refused": "InputMismatch", "skylane.model.name": "linear"},
            UNSET,
            id="inputs that do not fit",
        ),
        pytest.param(PREDICT, ask(""), 3, {"skylane.refused": "BadRequest"}, UNSET, id="what cannot be read"),
        pytest.param(
            PREDICT,
            ask("touchy", text=texts("x")),
            13,
            {"skylane.refused": "ModelFailed", "error.type": "ModelFailed", "skylane.model.version": 1},
            ERROR,
            id="a model that fails is our fault",
        ),
    ],
)
def test_what_is_refused(
    collector: Collector,
    repository: Path,
    transport: Transport,
    path: str,
    message: Any,
    code: int,
    told: dict[str, Any],
    status: int,
) -> None:
    with serving(repository, transport, traces="otlp", trace_sample=0.0) as server:
        call(server, path, message, PARENT)
    (request,) = collector.requests
    assert request.told.items() >= {"rpc.grpc.status_code": code, **told}.items()
    assert ("error.type" in request.told, request.status) == (status == ERROR, status)
    assert collector.named("batch") == []


def test_over_http(collector: Collector, repository: Path) -> None:
    rows = {"inputs": features(2).tolist()}
    with (
        serving(repository, traces="otlp", trace_sample=0.0, http_port=0, access_log=True) as server,
        Http(server.http_port) as http,
    ):
        for path, body in [
            ("/v1/models/linear/versions/1:predict", rows),
            ("/v1/models/linear/versions/1:predict", rows),
            ("/v2/models/linear/infer", ONE),
            ("/v2/models/nobody/infer", ONE),
            ("/v1/models/linear/labels/gone:predict", rows),
            ("/v2/models/touchy/infer", infer(tensor("text", texts("x"), "BYTES"))),
            ("/v2/repository/index", {}),
        ]:
            http.post(path, body, traceparent=PARENT[1])
        http.get("/v2/models/linear", traceparent=PARENT[1])
    fields = ("http.response.status_code", "skylane.cache", "skylane.protocol", "skylane.model.name", "error.type")
    assert [(span.name, span.status, *map(span.told.get, fields)) for span in collector.requests] == [
        ("POST /v1/models/{model}/versions/{version}:predict", UNSET, 200, None, "v1_http", "linear", None),
        ("POST /v1/models/{model}/versions/{version}:predict", UNSET, 200, "hit", "v1_http", "linear", None),
        ("POST /v2/models/{model}/infer", UNSET, 200, None, "oip_http", "linear", None),
        ("POST /v2/models/{model}/infer", UNSET, 404, None, "oip_http", "nobody", None),
        ("POST /v1/models/{model}/labels/{label}:predict", UNSET, 404, None, "v1_http", "linear", None),
        ("POST /v2/models/{model}/infer", ERROR, 500, None, "oip_http", "touchy", "ModelFailed"),
    ]
    assert {(span.trace, span.parent) for span in collector.requests} == {(TRACE, SPAN)}
    first, again, *_ = collector.requests
    assert first.told.items() >= {
        ("http.request.method", "POST"),
        ("http.route", "/v1/models/{model}/versions/{version}:predict"),
        ("url.path", "/v1/models/linear/versions/1:predict"),
        ("url.scheme", "http"),
    }
    _in_order(first, *collector.children(first).values())
    assert list(collector.children(first)) == ["decode", "queue", "run", "encode"]
    assert list(collector.children(again)) == ["decode"]


def test_a_batch_and_its_members_know_each_other(collector: Collector, repository: Path, transport: Transport) -> None:
    gate = Gate()
    with (
        serving(repository, transport, gate.load, traces="otlp", trace_sample=0.0) as server,
        open_channel(server.address) as channel,
    ):
        first = predict(channel).future(ask("linear", features=features(1)), timeout=60)
        gate.entered.acquire()  # while it runs, those that come are the next batch
        several = [
            predict(channel).future(ask("linear", features=features(2, seed=seed)), metadata=metadata, timeout=60)
            for seed, metadata in enumerate(((PARENT,), (), (PARENT,), (UNSAMPLED,), (PARENT,)), 1)
        ]
        _until_waiting(server, 10)
        gate.opened.set()
        for each in (first, *several):
            each.result()
    (batch,) = collector.named("batch")
    assert (batch.told["skylane.batch.rows"], batch.told["skylane.batch.requests"]) == (10, 5)
    assert len(collector.requests) == 3
    assert sorted(batch.links) == sorted((TRACE, request.id) for request in collector.requests)
    for request in collector.requests:
        assert request.told["skylane.rows"] == 2
        assert collector.children(request)["run"].links == [(batch.trace, batch.id)]


def _until_waiting(server: RunningServer, rows: int) -> None:
    """Wait until so many rows are in the queue of `linear`."""
    (served_version,) = server.app._routes.models["linear"].versions.values()
    while served_version.queue.rows < rows:
        pass


def test_an_answer_from_the_cache_and_one_from_an_equal_call(
    collector: Collector, repository: Path, transport: Transport
) -> None:
    gate, message = Gate(), ask("linear", features=features(1))
    with (
        serving(repository, transport, gate.load, traces="otlp", trace_sample=0.0) as server,
        open_channel(server.address) as channel,
    ):
        lead = predict(channel).future(message, metadata=(PARENT,), timeout=60)
        gate.entered.acquire()
        with ThreadPoolExecutor(1) as threads:
            follow = threads.submit(call, server, PREDICT, message, PARENT)
            while server.app._tracer is None or server.app._tracer.open < 2:
                pass
            gate.opened.set()
            lead.result()
            follow.result()
        predict(channel)(message, metadata=(PARENT,), timeout=60)
    told = [span.told.get("skylane.cache") for span in collector.requests]
    assert told == [None, "coalesced", "hit"]
    leader, follower, hit = collector.requests
    assert follower.links == [(TRACE, leader.id)]
    assert list(collector.children(follower)) == ["decode", "queue"]
    assert list(collector.children(hit)) == ["decode"]
    assert [len(batch.links) for batch in collector.named("batch")] == [1]


def test_a_deadline_that_passes_in_the_queue_is_a_fault_of_the_server(
    collector: Collector, repository: Path, transport: Transport
) -> None:
    gate = Gate()
    with (
        serving(repository, transport, gate.load, traces="otlp", trace_sample=0.0) as server,
        open_channel(server.address) as channel,
    ):
        first = predict(channel).future(ask("linear", features=features(1)), timeout=60)
        gate.entered.acquire()
        with pytest.raises(grpc.RpcError) as late:
            predict(channel)(ask("linear", features=features(1, seed=1)), metadata=(PARENT,), timeout=2.0)
        # The client gives up and says so. What follows on the same connection is answered when that has been heard: a
        # request without rows waits for no run.
        predict(channel)(ask("linear", features=features(0)), timeout=60)
        gate.opened.set()
        first.result()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    (request,) = collector.requests
    assert request.told["skylane.refused"] in ("DeadlineExpired", "CallCancelled"), "whichever is heard of first"
    assert (
        request.told["rpc.grpc.status_code"]
        == {"DeadlineExpired": 4, "CallCancelled": 1}[request.told["skylane.refused"]]
    )
    assert list(collector.children(request)) == ["decode", "queue"]


def test_each_message_of_a_stream_is_a_request(collector: Collector, repository: Path, transport: Transport) -> None:
    messages = [ask("linear", str(seed), features=features(1, seed=seed)) for seed in range(4)]
    with (
        serving(repository, transport, traces="otlp", trace_sample=0.0, access_log=True) as server,
        open_channel(server.address) as channel,
    ):
        replies = list(predict_stream(channel)(iter(messages), metadata=(PARENT,), timeout=60))
    assert len(replies) == 4
    assert [span.name for span in collector.requests] == ["skylane.v1.PredictionService/PredictStream"] * 4
    assert {(span.trace, span.parent) for span in collector.requests} == {(TRACE, SPAN)}


TRITON = """
import sys, numpy as np, tritonclient.{kind} as triton
client = triton.InferenceServerClient(sys.argv[1])
rows = np.zeros((2, 20), np.float32)
features = triton.InferInput("features", [2, 20], "FP32")
features.set_data_from_numpy(rows)
client.infer("linear", [features], headers={{"traceparent": sys.argv[2]}})
client.close()
"""


@pytest.mark.parametrize(("kind", "name"), [("grpc", INFER[1:]), ("http", "POST /v2/models/{model}/infer")])
def test_the_triton_client_as_it_is(collector: Collector, repository: Path, kind: str, name: str) -> None:
    with serving(repository, traces="otlp", trace_sample=0.0, http_port=0) as server:
        address = server.address if kind == "grpc" else f"127.0.0.1:{server.http_port}"
        command = [sys.executable, "-c", TRITON.format(kind=kind), address, PARENT[1]]
        subprocess.run(command, check=True, timeout=60)
    (request,) = collector.requests
    assert (request.name, request.trace, request.parent) == (name, TRACE, SPAN)


def test_workers_send_theirs_and_what_is_left_when_they_end(collector: Collector, repository: Path) -> None:
    """The pause between two exports is longer than the test: what comes was sent at the end."""
    with Served("--models", str(repository), "--workers=2", "--traces=otlp", "--trace-sample=1") as served:
        address = served.until(" on 127.0.0.1:").split(" on ")[1].split()[0]
        served.until("serving")
        for seed in range(40):
            with open_channel(address) as channel:
                predict(channel)(ask("linear", features=features(1, seed=seed)), timeout=60)
        served.process.send_signal(signal.SIGTERM)
        assert "0 lost" in served.rest()
    assert len(collector.requests) == 40
    assert len({span.resource["service.instance.id"] for span in collector.requests}) == 2


def test_what_waits_is_sent_by_http_where_that_is_asked_for(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "late-flights")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    with collecting_by_http() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with serving(repository, traces="otlp", trace_sample=1.0) as server:
            call(server, PREDICT, ask("linear", features=features(1)))
            collector.until(lambda spans: len(spans) == 6)
    (request,) = collector.requests
    assert request.resource["service.name"] == "late-flights"
    assert request.resource["deployment.environment.name"] == "test"


OFF = """
import sys
import threading
import time
from pathlib import Path
from support.calls import ask, features, open_channel, predict
from support.http import Http, infer, tensor
from support.server import serving
with serving(Path(sys.argv[1]), http_port=0) as server, open_channel(server.address) as channel:
    predict(channel)(ask("linear", features=features(1)), metadata=[("traceparent", sys.argv[2])], timeout=60)
    with Http(server.http_port) as http:
        assert http.post("/v2/models/linear/infer", infer(tensor("features", features(1)))).status == 200
print([name for name in sys.modules if name.partition(".")[0] == "opentelemetry"])
"""


def test_off_is_off(repository: Path) -> None:
    command = [sys.executable, "-c", OFF, str(repository), PARENT[1]]
    environment = {**os.environ, "PYTHONPATH": "tests"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


WITHOUT = """
import sys
import threading
import time
sys.modules["opentelemetry"] = None
from skylane.server.__main__ import main
sys.exit(main(["--models", sys.argv[1], "--port=0", "--traces=otlp"]))
"""


def test_without_the_extra_it_says_what_to_install(repository: Path) -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT, str(repository)], capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert "pip install 'skylane[server,tracing]', or leave --traces off" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected grpc or http/protobuf, received 'http/json'"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "expected a number from 1, received 'many'"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "expected a number from 1, received '0'"),
    ],
)
def test_variables_that_make_no_sense_end_the_start(repository: Path, variable: str, value: str, says: str) -> None:
    command = [sys.executable, "-m", "skylane.server", "--models", str(repository), "--port=0", "--traces=otlp"]
    environment = {**os.environ, variable: value}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stderr) == (1, f"skylane serve: {variable}: {says}\n")


def test_the_console(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(repository, traces="console", trace_sample=0.0) as server:
        call(server, PREDICT, ask("linear", features=features(1)), PARENT)
    spans = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(span["name"] for span in spans) == [
        "batch", "decode", "encode", "queue", "run", "skylane.v1.PredictionService/Predict",
    ]  # fmt: skip
