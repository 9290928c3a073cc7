"""The page of metrics, where somebody gives one."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.outcome_recording import OutcomeRecording
from skylane.server.admin.readiness import Readiness
from skylane.server.auth.authenticator import Authenticator
from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import LoadedModel
from skylane.server.http.application import Application
from skylane.server.http.engine_calls import EngineCalls
from skylane.server.http.handler_context import Context
from skylane.server.http.request_bodies import Bodies
from skylane.server.observability.logs import request_id_of
from skylane.server.observability.snapshot import Snapshot
from skylane.server.repository.repository import Repository


class NoWorkers:
    """Nothing runs here."""

    def run(self, work: Any) -> None:
        """See skylane.server.engine.engine.Workers."""
        raise AssertionError

    def call_at(self, due_at: float, work: Any) -> None:
        """See skylane.server.engine.engine.Workers."""
        raise AssertionError


def nothing_to_load(*_: object) -> LoadedModel:
    raise AssertionError("there is no model")


async def nobody_counts() -> Snapshot:
    raise AssertionError("nobody asked for figures")


async def nobody_looks() -> None:
    raise AssertionError("nobody asked to look")


async def get(path: str, metrics: Any, *fields: tuple[bytes, bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body, from the application itself."""
    directory = ModelControl(
        routes=Routes,
        repository=Repository(Path(), nothing_to_load, lambda _: None),
        readiness=Readiness(),
        figures=nobody_counts,
        refresh=nobody_looks,
    )
    context = Context(
        exchange=EngineCalls(Engine(NoWorkers(), time.monotonic, RejectionCounter()), time.monotonic),
        bodies=Bodies(1, lambda size: MessageTooLarge(f"{size}")),
        authenticator=Authenticator(None),
        directory=directory,
        outcomes=OutcomeRecording(recorder=None, directory=directory, loopback=True),
        metrics=metrics,
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), *fields],
    }
    await Application(context)(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


async def test_metrics_are_told_as_they_are_given() -> None:
    async def metrics(accept: str) -> tuple[bytes, str]:
        return b"x 1\n", "text/plain; version=0.0.4"

    status, headers, body = await get("/metrics", metrics)
    assert (status, body) == (200, b"x 1\n")
    assert headers[b"content-type"].startswith(b"text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("header", "packed"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param("gzip", True, id="gzip"),
        pytest.param("deflate, GZIP;q=0.5", True, id="among others"),
        pytest.param("gzip;q=0, identity", False, id="gzip is refused"),
        pytest.param("gzip; q=0.000", False, id="refused with more digits"),
        pytest.param("br", False, id="others alone"),
        pytest.param("x-gzip2", False, id="a name that is alike"),
    ],
)
async def test_metrics_are_packed_for_whoever_takes_gzip(header: str, packed: bool) -> None:
    async def metrics(accept: str) -> tuple[bytes, str]:
        return b"x 1\n" * 1000, "text/plain; version=0.0.4"

    status, headers, body = await get("/metrics", metrics, (b"accept-encoding", header.encode()))
    assert (status, headers[b"vary"]) == (200, b"accept, accept-encoding")
    assert (headers.get(b"content-encoding") == b"gzip") == packed
    assert (gzip.decompress(body) if packed else body) == b"x 1\n" * 1000


async def test_a_fault_of_ours_is_told_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def metrics(accept: str) -> tuple[bytes, str]:
        raise RuntimeError("a secret")

    status, headers, body = await get("/metrics", metrics)
    request_id = headers[b"x-request-id"].decode()
    assert (status, headers[b"content-type"]) == (500, b"application/json")
    assert json.loads(body) == {"error": "internal error; details are in the server's log", "request_id": request_id}
    (record,) = caplog.records
    assert record.getMessage() == "GET '/metrics' failed with an internal error"
    assert request_id_of(record) == request_id


async def test_a_server_that_knows_no_models_is_alive_and_not_ready() -> None:
    assert (await get("/healthz", None))[0] == 200
    assert (await get("/readyz", None))[0] == 503
