"""HTTP under pressure, with a model that a test holds in the middle of a run: one engine with gRPC, deadlines, callers
who go, full queues, large bodies, equal requests, and the drain."""

import contextlib
import gzip
import http.client
import json
import select
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import models
from support.calls import ask, features, open_channel, predict
from support.http import Http, infer, tensor
from support.server import Gate, RunningServer, serving

POLICY = """
[batching]
max_batch_rows = 8
max_queue_rows = 6
max_request_rows = 6
"""
PATH = "/v2/models/linear/infer"


def body_of(rows: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    return infer(tensor("features", features(rows, seed=seed)), **more)


class Held:
    """A server whose model `linear` runs only while the gate is open."""

    def __init__(self, server: RunningServer, gate: Gate, connections: contextlib.ExitStack) -> None:
        self.server, self.gate, self._connections = server, gate, connections

    def connect(self) -> Http:
        return self._connections.enter_context(Http(self.server.http_port))

    def send(self, rows: int = 1, seed: int = 0, **headers: str) -> Http:
        """Ask on a connection of its own."""
        connection = self.connect()
        connection.send("POST", PATH, body_of(rows, seed), **headers)
        return connection

    def occupy(self) -> Http:
        """Send a request and return when its run has begun."""
        first = self.send(seed=99)
        assert self.gate.entered.acquire(timeout=30)
        return first

    def settle(self) -> None:
        """Return when everything sent before has reached the engine: requests without rows are answered in passing."""
        with Http(self.server.http_port) as probe:
            for _ in range(3):
                assert probe.post(PATH, body_of(0)).status == 200


@contextlib.contextmanager
def holding(root: Path, policy: str, **settings: Any) -> Iterator[Held]:
    models.linear(root)
    (root / "linear" / "model.toml").write_text(policy)
    gate = Gate()
    with (
        contextlib.ExitStack() as connections,
        serving(root, load=gate.load, http_port=0, **settings) as server,
    ):
        try:
            yield Held(server, gate, connections)
        finally:
            gate.opened.set()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with holding(tmp_path, POLICY) as held:
        yield held


def test_what_arrives_over_http_and_grpc_is_one_batch(held: Held) -> None:
    first = held.occupy()
    over_http = [held.send(seed=seed) for seed in range(3)]
    with open_channel(held.server.address) as channel:
        over_grpc = [predict(channel).future(ask("linear", features=features(1, seed=seed))) for seed in range(3)]
        predict(channel)(ask("linear", features=features(0)), timeout=30)
        held.settle()
        held.gate.opened.set()
        assert [call.result(timeout=30).version for call in over_grpc] == [1, 1, 1]
    assert first.answer().status == 200
    for seed, connection in enumerate(over_http):
        (score,) = connection.answer().json["outputs"][1]["data"]
        np.testing.assert_allclose(score, features(1, seed=seed).sum(), rtol=1e-5)
    assert held.gate.rows == [1, 6]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(held: Held) -> None:
    first = held.occupy()
    waiting = [held.send(rows=3, seed=seed) for seed in range(2)]
    held.settle()
    refused = held.send().answer()
    assert refused.error == (503, "the model's queue is full: 6 rows wait, at most 6 may (max_queue_rows)")
    assert refused.headers["retry-after-ms"] == "6000", "six rows at the measured second each"
    assert refused.headers["retry-after"] == "6"
    held.gate.opened.set()
    assert [connection.answer().status for connection in (first, *waiting)] == [200] * 3


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        pytest.param({"X_Request_Timeout_Ms": "50"}, {}, id="by the header"),
        pytest.param({}, {"parameters": {"timeout": 50_000}}, id="by the protocol's parameter"),
        pytest.param(
            {"X_Request_Timeout_Ms": "60000"}, {"parameters": {"timeout": 50_000}}, id="by whichever is earlier"
        ),
    ],
)
def test_an_expired_request_is_answered_in_time_and_never_run(
    held: Held, headers: dict[str, str], more: dict[str, Any]
) -> None:
    first = held.occupy()
    expired = held.connect().post(PATH, body_of(1, 1, **more), **headers)
    assert expired.error == (504, "the deadline passed before the answer was ready")
    held.settle()
    held.gate.opened.set()
    assert first.answer().status == 200
    assert held.connect().post(PATH, body_of(1, 2)).status == 200
    assert held.gate.rows == [1, 1]


def test_a_deadline_that_has_passed_already_has_the_words_of_grpc(held: Held) -> None:
    held.gate.opened.set()
    expired = held.connect().post(PATH, body_of(1), X_Request_Timeout_Ms="0")
    assert expired.error == (504, "the deadline passed before the model ran; it did not run")
    assert held.gate.rows == []


@pytest.mark.parametrize("text", ["-1", "soon", "nan", "1e99", ""])
def test_a_deadline_that_is_none(held: Held, text: str) -> None:
    status, told = held.connect().post(PATH, body_of(1), X_Request_Timeout_Ms=text).error
    assert (status, told) == (400, f"x-request-timeout-ms: expected milliseconds from 0, received {text!r}")


def test_a_caller_who_hangs_up_is_never_run_for_and_its_neighbours_are(held: Held) -> None:
    first = held.occupy()
    connections = [held.send(seed=seed) for seed in range(4)]
    held.settle()
    connections[1].connection.close()
    connections[2].connection.close()
    held.settle()
    held.gate.opened.set()
    assert [connection.answer().status for connection in (first, connections[0], connections[3])] == [200] * 3
    assert held.gate.rows == [1, 2]


def test_equal_requests_share_one_run_but_not_their_ids_nor_their_form(tmp_path: Path) -> None:
    with holding(tmp_path, POLICY + "[cache]\nenabled = true\n") as held:
        first = held.occupy()
        same = [held.connect() for _ in range(3)]
        for number, connection in enumerate(same):
            connection.send("POST", PATH, body_of(1, 5, id=f"n{number}"))
            held.settle()
        other_form = held.connect()
        other_form.send("POST", "/v1/models/linear:predict", {"instances": features(1, seed=5).tolist()})
        held.settle()
        held.gate.opened.set()
        answers = [connection.answer() for connection in same]
        assert [answer.json["id"] for answer in answers] == ["n0", "n1", "n2"]
        assert [answer.headers.get("x-skylane-cached") for answer in answers] == [None, "true", "true"]
        assert len({str(answer.json["outputs"]) for answer in answers}) == 1
        assert list(other_form.answer().json) == ["predictions"]
        assert first.answer().status == 200
        assert held.gate.rows == [1, 2]


class TestBodies:
    """Sizes and encodings, with a limit of 1 MiB."""

    @pytest.fixture
    def http(self, tmp_path: Path) -> Iterator[Http]:
        models.linear(tmp_path)
        with serving(tmp_path, max_message_mb=1, http_port=0) as server, Http(server.http_port) as http:
            yield http

    TOO_LARGE = "bytes, but this server takes at most 1048576 (--max-message-mb): send fewer rows at once"

    def test_an_announced_body_over_the_limit_is_not_waited_for(self, http: Http) -> None:
        http.connection.putrequest("POST", PATH)
        http.connection.putheader("content-length", str(2**20 + 1))
        http.connection.endheaders()
        assert http.answer().error == (413, f"the message has 1048577 {self.TOO_LARGE}")

    def test_a_body_of_unknown_length_is_read_up_to_the_limit(self, http: Http) -> None:
        with contextlib.suppress(ConnectionError):  # it answers before all is sent, and closes
            http.connection.request("POST", PATH, iter([b"x" * 2**16] * 40), encode_chunked=True)
        status, told = http.answer().error
        assert status == 413
        assert told.endswith(self.TOO_LARGE)

    @pytest.mark.parametrize(
        ("encoding", "pack"),
        [pytest.param("gzip", gzip.compress, id="gzip"), pytest.param("deflate", zlib.compress, id="deflate")],
    )
    def test_a_packed_body(self, http: Http, encoding: str, pack: Callable[[bytes], bytes]) -> None:
        body = json.dumps(body_of(2)).encode()
        assert http.post(PATH, pack(body), Content_Encoding=encoding).status == 200
        assert http.post(PATH, pack(b" " * 2**20), Content_Encoding=encoding).status == 400, "as large as is allowed"
        assert http.post(PATH, pack(b" " * 2**28), Content_Encoding=encoding).error == (
            413,
            f"the message has 1048577 {self.TOO_LARGE}",
        )
        status, told = http.post(PATH, pack(body)[:-1], Content_Encoding=encoding).error
        assert (status, told) == (400, f"the body ends before its {encoding} does")
        status, told = http.post(PATH, body, Content_Encoding=encoding).error
        assert status == 400
        assert told.startswith(f"the body is not {encoding}, as content-encoding declares: ")

    def test_an_unknown_encoding(self, http: Http) -> None:
        refused = http.post(PATH, b"", Content_Encoding="br")
        assert refused.error == (415, "content-encoding: expected gzip, deflate or none, received 'br'")

    def test_bodies_of_all_requests_together_are_bounded(self, http: Http) -> None:
        """Four unfinished bodies of nearly the largest size are held; with the beginning of a fifth one is refused."""
        with contextlib.ExitStack() as stack:
            held: dict[Any, tuple[Http, int]] = {}
            for size in (*[2**20 - 1] * 4, 4096):
                each = stack.enter_context(Http(http.connection.port))
                each.connection.putrequest("POST", PATH)
                each.connection.putheader("content-length", str(2**20))
                each.connection.endheaders()
                each.connection.send(b" " * size)
                held[each.connection.sock] = each, 2**20 - size
            answered, _, _ = select.select(list(held), [], [], 60)
            ((refused, _),) = (held.pop(sock) for sock in answered)
            status, told = refused.answer().error
            assert status == 503
            assert told.endswith("at most 4194304 may be")
            for each, missing in held.values():
                each.connection.send(b" " * missing)
                assert each.answer().status == 400
        assert http.post(PATH, body_of(8)).status == 200


def test_a_server_that_drains_says_so_and_finishes_what_it_has(tmp_path: Path) -> None:
    models.linear(tmp_path)
    gate = Gate()
    with contextlib.ExitStack() as running, contextlib.ExitStack() as connections:
        server = running.enter_context(serving(tmp_path, load=gate.load, http_port=0))
        held = Held(server, gate, connections)
        first, probe = held.occupy(), held.connect()
        assert probe.get("/readyz").status == 200
        drained = threading.Thread(target=running.close)
        drained.start()
        while probe.get("/readyz").status == 200:
            pass
        assert probe.get("/healthz").status == 200, "alive as long as it answers"
        assert probe.get("/v2/health/ready").status == probe.get("/v2/models/linear/ready").status == 503
        while (refused := probe.post(PATH, body_of(0))).status == 200:
            pass
        assert refused.error == (503, "the server is shutting down and takes no new requests")
        gate.opened.set()
        assert first.answer().status == 200
        drained.join(30)
        assert not drained.is_alive()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            probe.get("/healthz")


def test_when_the_grace_period_is_over_connections_are_closed_without_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models.linear(tmp_path)
    gate = Gate()
    with contextlib.ExitStack() as connections:
        with serving(tmp_path, load=gate.load, http_port=0, grace_s=0.01) as server:
            first = Held(server, gate, connections).occupy()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            first.answer()
        gate.opened.set()
    assert "the grace period is over" in caplog.text
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_port_in_use_is_heard_of_at_once(tmp_path: Path) -> None:
    from skylane.server.core.errors import CannotStart

    models.linear(tmp_path)
    with (
        serving(tmp_path, http_port=0) as server,
        pytest.raises(CannotStart, match=rf"^http-port: 127.0.0.1:{server.http_port} cannot be bound"),
        serving(tmp_path, http_port=server.http_port),
    ):
        raise AssertionError("two servers on one port")


def test_grpc_alone_is_the_default(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with serving(tmp_path) as server, open_channel(server.address) as channel:
        assert server.http_port == 0
        assert predict(channel)(ask("linear", features=features(1))).version == 1
