"""The log: for people and for machines, with the id of the request that a line tells of."""

import json
import logging
from pathlib import Path

import grpc
import numpy as np
import pytest

from server.observe.figures import EVENTS_MAX
from server.observe.logs import TEXT_MAX, Console, JsonLines, Recent
from skylane.v1.prediction_pb2 import PredictResponse
from support import models
from support.calls import ask, open_channel, predict
from support.process import Served


def record(text: str = "%s is ready", tail: bytes = b"", error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("server.app", logging.INFO, "", 0, text, ("m/1",), exc_info)
    made.call_tail = tail
    return made


def tail(request_id: str) -> bytes:
    return PredictResponse(request_id=request_id).SerializeToString()


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param("", id="none"),
        pytest.param("a-1", id="short"),
        pytest.param("é" * 300, id="so long that its length takes two bytes"),
        pytest.param('"\n', id="what would break a line"),
    ],
)
def test_lines_for_machines_are_json_with_the_id_of_the_request(request_id: str) -> None:
    line = JsonLines().format(record(tail=tail(request_id)))
    told = json.loads(line)
    assert "\n" not in line
    assert (told["level"], told["logger"], told["text"]) == ("info", "server.app", "m/1 is ready")
    assert told.get("request_id", "") == request_id
    assert told["at"].endswith("+00:00")


def test_a_traceback_is_one_field() -> None:
    try:
        raise RuntimeError("no")
    except RuntimeError as error:
        told = json.loads(JsonLines().format(record(error=error)))
    assert told["traceback"].endswith("RuntimeError: no")


def test_lines_for_people() -> None:
    assert Console().format(record()).endswith("INFO    m/1 is ready")
    assert Console(supervised=True).format(record(tail=tail("a'"))).endswith('] m/1 is ready (request "a\'")')


def test_the_latest_lines_are_kept_and_cut() -> None:
    recent = Recent()
    for number in range(EVENTS_MAX + 5):
        recent.emit(record(f"{number} %s"))
    assert [event.text for event in recent.events] == [f"{number} m/1" for number in range(5, EVENTS_MAX + 5)]
    recent.emit(record("%s" + "x" * 2 * TEXT_MAX))
    assert len(recent.events[-1].text) == TEXT_MAX


def test_a_server_writes_json_alone_and_tells_of_the_request_that_failed(tmp_path: Path) -> None:
    models.touchy(tmp_path)
    arguments = ("--models", str(tmp_path), "--log-format", "json", "--poll-s", "0")
    with Served(*arguments) as served:
        address = json.loads(served.until("serving 1 model"))["text"].split(" on ")[1].split(" ")[0]
        request = ask("touchy", "the-one", text=np.array([["x"]], object))
        with open_channel(address) as channel, pytest.raises(grpc.RpcError, match="failed on these rows"):
            predict(channel)(request, timeout=60)
        told = json.loads(served.until("failed on a request"))
        assert told["request_id"] == "the-one"
        assert "traceback" in told
    assert all(json.loads(line) for line in served.lines)
