"""A request is known by one name to its caller, to our answer, and to our log."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.server.core.request_ids import LENGTH_MAX, new_id, sanitized
from skylane.server.core.settings import Transport
from support import models
from support.calls import PREDICT, ask, features, open_channel, predict, raw
from support.http import Http, infer, tensor
from support.process import Served

ONE = ask("linear", features=features(1)).SerializeToString()
BAD = ask("touchy", text=np.array([["x"]], object)).SerializeToString()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("", "", id="none is none"),
        pytest.param("7f3-A:9/x_@", "7f3-A:9/x_@", id="a usual one stays"),
        pytest.param("a\r\nlevel=error", "alevel=error", id="it cannot begin a line"),
        pytest.param('a", "b": \'\\', "a,b:", id="nor end a quotation"),
        pytest.param("é\x1b[31m\u2028", "[31m", id="nor paint a terminal"),
        pytest.param("x" * 10_000, "x" * LENGTH_MAX, id="nor be endless"),
    ],
)
def test_what_a_stranger_sends_is_safe_to_tell(sent: str, expected: str) -> None:
    assert sanitized(sent) == expected == sanitized(expected)


def test_ids_of_ours_differ_and_are_safe() -> None:
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(sanitized(each) == each for each in ids)


@contextmanager
def served(tmp_path: Path, transport: Transport, *more: str) -> Iterator[tuple[Served, str, int]]:
    """A server with a log for machines, and both its ports."""
    models.linear(tmp_path)
    models.touchy(tmp_path)
    arguments = ("--models", str(tmp_path), "--poll-s", "0", "--http-port", "0", "--log-format", "json")
    with Served(*arguments, "--transport", transport, *more) as process:
        address = re.search(r" on (\S+:\d+) ", process.until("serving 2 models"))
        port = re.search(r"http://127.0.0.1:(\d+)", process.until("HTTP on"))
        assert address
        assert port
        yield process, address[1], int(port[1])


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_a_failure_has_its_id_in_the_answer_and_in_the_log(tmp_path: Path, transport: Transport) -> None:
    with served(tmp_path, transport) as (process, address, _), open_channel(address) as channel:
        with pytest.raises(grpc.RpcError, match="failed on these rows") as failed:
            raw(channel, PREDICT)(BAD, timeout=60)  # no id: the server makes one
        line = json.loads(process.until("failed on a request"))
        assert _id_of(failed.value) == line["request_id"]
        for wrong in (BAD, b"\xff", ask("nobody").SerializeToString()):
            for sent in ("mine-1", "mine-2"):  # the second time its form is known
                with pytest.raises(grpc.RpcError) as refused:
                    raw(channel, PREDICT)(wrong, timeout=60, metadata=(("x-request-id", sent),))
                assert _id_of(refused.value) == sent


def _id_of(error: Any) -> str:
    return str(dict(error.trailing_metadata())["x-request-id"])


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_the_access_log_has_one_line_for_each_request(tmp_path: Path, transport: Transport) -> None:
    with served(tmp_path, transport, "--access-log") as (process, address, port):
        with open_channel(address) as channel, Http(port) as http:
            predict(channel)(ask("linear", features=features(3)), timeout=60, metadata=(("x-request-id", "one"),))
            predict(channel)(ask("linear", "two", features=features(1)), timeout=60)
            for payload, path, its_id in ((ask("nobody").SerializeToString(), PREDICT, "three"), (b"", "/no", "four")):
                with pytest.raises(grpc.RpcError):
                    raw(channel, path)(payload, timeout=60, metadata=(("x-request-id", its_id),))
            body = infer(tensor("features", features(2)))
            assert http.post("/v2/models/linear/infer", body, x_request_id="five").status == 200
            assert http.get("/nowhere", x_request_id="six").status == 404
        by_id: dict[str, dict[str, Any]] = {}
        while not by_id.keys() >= set(IDS):  # a call may be logged after its caller has gone on to the next one
            line = json.loads(process.until('"logger": "access"'))
            by_id[line["request_id"]] = line
        lines = [by_id[each] for each in IDS]
    common = {"level", "at", "process", "logger", "text", "request_id", "duration_s"}
    assert [{key: value for key, value in line.items() if key not in common} for line in lines] == [
        {"protocol": "skylane_grpc", "status": "OK", "model": "linear", "version": 1, "rows": 3},
        {"protocol": "skylane_grpc", "status": "OK", "model": "linear", "version": 1, "rows": 1},
        {"protocol": "skylane_grpc", "status": "NOT_FOUND"},
        {"protocol": "grpc", "status": "UNIMPLEMENTED", "path": "/no"},
        {"protocol": "oip_http", "status": 200, "method": "POST", "path": "/v2/models/linear/infer"},
        {"protocol": "http", "status": 404, "method": "GET", "path": "/nowhere"},
    ]
    assert {line["logger"] for line in lines} == {"access"}


IDS = ("one", "two", "three", "four", "five", "six")
