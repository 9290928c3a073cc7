"""Every answer of a journalled model has an id of its own, over every protocol, and lies in the journal under it."""

import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np
import pytest

from skylane import journal
from skylane.client import Client
from skylane.prediction_ids import parse_id
from skylane.server.codecs.oip.messages import INFER_STREAM, ModelInferRequest, ModelStreamInferResponse
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.codecs.tfs.messages import PREDICTION_SERVICE
from support import foreign, models
from support.calls import Array, ask, features, open_channel, predict, predict_stream
from support.http import Http, binary_body, infer, tensor
from support.process import Served
from support.server import RunningServer, serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

JOURNALLED: Final = "[monitor]\njournal = true\n"
CACHED: Final = "[cache]\nenabled = true\n"
WAIT_S_MAX: Final = 60.0
HEADER: Final = "skylane-prediction-id"


@dataclass(frozen=True)
class Journalled:
    """A server whose models are journalled, and where."""

    server: RunningServer
    directory: Path

    @property
    def address(self) -> str:
        """Where gRPC is."""
        return self.server.address

    def rows_of(self, model: str, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Id → its rows, once they are written."""
        found: dict[str, list[dict[str, Any]]] = {}
        ends_at = time.monotonic() + WAIT_S_MAX
        while not found.keys() >= set(ids) and time.monotonic() < ends_at:
            found = {}
            for row in rows_in(self.directory, model):
                found.setdefault(row["prediction_id"], []).append(row)
        return {prediction_id: found[prediction_id] for prediction_id in ids}


def rows_in(directory: Path, model: str) -> list[dict[str, Any]]:
    """All rows that can be read now."""
    try:
        rows: list[dict[str, Any]] = journal.read(directory, model).to_pylist()
    except journal.JournalNotFound:
        return []
    return rows


@pytest.fixture(scope="module")
def journalled(tmp_path_factory: pytest.TempPathFactory, transport: "Transport") -> Iterator[Journalled]:
    """`plain` without a cache, `cached` with one, and `silent`, which is not journalled."""
    root, directory = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("above") / "journal"
    for name, policy in (("plain", JOURNALLED), ("cached", JOURNALLED + CACHED), ("silent", CACHED)):
        models.linear(root, name)
        (root / name / "model.toml").write_text(policy)
    with serving(root, transport, journal=directory, http_port=0) as running:
        yield Journalled(running, directory)


Answered = Callable[[Journalled, str, Array], tuple[str, bool]]
"""(server, model, rows) → the id of the answer, and whether it says that it came from the cache."""


def by_skylane(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        reply = predict(channel)(ask(model, request_id="own", features=rows))
        assert reply.request_id == "own"
        return reply.prediction_id, reply.cached


def by_client(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with Client(journalled.address) as client:
        prediction = client.predict(model, rows)
        return prediction.prediction_id, prediction.cached


def by_skylane_stream(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        (reply,) = predict_stream(channel)(iter([ask(model, request_id="own", features=rows)]))
        assert reply.request_id == reply.response.request_id == "own"
        return reply.response.prediction_id, reply.response.cached


def by_oip(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        reply = foreign.call(channel, OIP, "ModelInfer")(foreign.infer_raw(ask(model, "own", features=rows)))
        assert (reply.id, list(reply.parameters)) == ("own", ["prediction_id"])
        return reply.parameters["prediction_id"].string_param, False


def by_oip_lists(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        request = foreign.infer_contents(ask(model), {"features": rows})
        reply = foreign.call(channel, OIP, "ModelInfer")(request)
        return reply.parameters["prediction_id"].string_param, False


def by_oip_stream(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        method = channel.stream_stream(
            INFER_STREAM,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelStreamInferResponse.FromString,
        )
        (reply,) = method(iter([foreign.infer_raw(ask(model, features=rows))]))
        return reply.infer_response.parameters["prediction_id"].string_param, False


def by_tensorflow(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with open_channel(journalled.address) as channel:
        method: Any = foreign.call(channel, PREDICTION_SERVICE, "Predict")
        _, call = method.with_call(foreign.tensorflow(ask(model), {"features": rows}))
        return dict(call.trailing_metadata())[HEADER], False


def by_rows_as_json(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with Http(journalled.server.http_port) as http:
        answer = http.post(f"/v1/models/{model}:predict", {"rows": [{"features": row} for row in rows.tolist()]})
        assert answer.json["prediction_id"] == answer.headers[HEADER]
        return answer.headers[HEADER], answer.headers.get("x-skylane-cached") == "true"


def by_tensorflow_http(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with Http(journalled.server.http_port) as http:
        answer = http.post(f"/v1/models/{model}:predict", {"instances": rows.tolist()})
        assert list(answer.json) == ["predictions"]
        return answer.headers[HEADER], answer.headers.get("x-skylane-cached") == "true"


def by_oip_http(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    with Http(journalled.server.http_port) as http:
        answer = http.post(f"/v2/models/{model}/infer", infer(tensor("features", rows), id="own"))
        assert (answer.json["id"], answer.json["parameters"]["prediction_id"]) == ("own", answer.headers[HEADER])
        return answer.headers[HEADER], answer.headers.get("x-skylane-cached") == "true"


def by_oip_http_binary(journalled: Journalled, model: str, rows: Array) -> tuple[str, bool]:
    described: dict[str, Any] = {"name": "features", "datatype": "FP32", "shape": list(rows.shape)}
    described["parameters"] = {"binary_data_size": rows.nbytes}
    body, size = binary_body(infer(described, parameters={"binary_data_output": True}), rows.tobytes())
    with Http(journalled.server.http_port) as http:
        answer = http.post(f"/v2/models/{model}/infer", body, Inference_Header_Content_Length=size)
        assert len(answer.binary) == 12 * len(rows), "nothing of the id stands behind the tensors"
        assert answer.json["parameters"]["prediction_id"] == answer.headers[HEADER]
        return answer.headers[HEADER], answer.headers.get("x-skylane-cached") == "true"


WAYS: Final = {
    "skylane.v1": by_skylane,
    "our client": by_client,
    "a stream of skylane.v1": by_skylane_stream,
    "Open Inference, raw": by_oip,
    "Open Inference, lists": by_oip_lists,
    "a stream of Open Inference": by_oip_stream,
    "TensorFlow Serving": by_tensorflow,
    "rows as JSON": by_rows_as_json,
    "TensorFlow Serving over HTTP": by_tensorflow_http,
    "Open Inference over HTTP": by_oip_http,
    "Open Inference over HTTP, binary": by_oip_http_binary,
}
WITH_OWN_ID: Final = (by_skylane, by_skylane_stream, by_oip)
seeds = itertools.count(1)


@pytest.mark.parametrize("model", ["plain", "cached"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_answer_has_an_id_of_its_own_and_is_journalled_under_it(
    journalled: Journalled, way: Answered, model: str
) -> None:
    rows = features(3, seed=next(seeds))
    answers = [way(journalled, model, rows) for _ in range(3)]  # the second time a request's form is known
    ids = [prediction_id for prediction_id, _ in answers]
    assert len(set(ids)) == 3
    assert not answers[0][1]
    for place, (prediction_id, found) in enumerate(journalled.rows_of(model, ids).items()):
        parse_id(prediction_id)
        assert [row["row"] for row in found] == [0, 1, 2]
        np.testing.assert_array_equal(np.array([row["inputs"]["features"] for row in found], np.float32), rows)
        np.testing.assert_allclose([row["outputs"]["score"] for row in found], rows.sum(axis=1), rtol=1e-4)
        assert [row["outputs"]["label"] for row in found] == (rows.sum(axis=1) > 0).astype(int).tolist()
        assert {row["cached"] for row in found} == {model == "cached" and place > 0}
        assert {row["version"] for row in found} == {1}
        if way in WITH_OWN_ID:
            assert {row["request_id"] for row in found} == {"own"}


@pytest.mark.parametrize("way", [by_skylane, by_tensorflow_http, by_oip], ids=["skylane.v1", "HTTP", "OIP"])
def test_equal_requests_at_once_share_a_run_and_no_id(journalled: Journalled, way: Answered) -> None:
    rows = features(2, seed=next(seeds))
    with open_channel(journalled.address) as channel:
        requests = [ask("cached", request_id=str(number), features=rows) for number in range(50)]
        replies = list(predict_stream(channel)(iter(requests)))
    ids = [reply.response.prediction_id for reply in replies] + [way(journalled, "cached", rows)[0]]
    assert len(set(ids)) == 51
    found = journalled.rows_of("cached", ids)
    assert {len(rows) for rows in found.values()} == {2}
    by_number = {found[reply.response.prediction_id][0]["request_id"]: reply.request_id for reply in replies}
    assert by_number == {str(number): str(number) for number in range(50)}


def test_who_gets_no_answer_and_who_asks_about_no_rows_gets_no_id(journalled: Journalled) -> None:
    with open_channel(journalled.address) as channel:
        assert predict(channel)(ask("plain", features=features(0))).prediction_id == ""
        with pytest.raises(grpc.RpcError) as refused:
            predict(channel)(ask("plain", features=features(1, width=3)))
        error: Any = refused.value
        assert HEADER not in dict(error.trailing_metadata())


def test_a_model_that_is_not_journalled_answers_without_ids(journalled: Journalled) -> None:
    with open_channel(journalled.address) as channel:
        for _ in range(2):
            assert predict(channel)(ask("silent", features=features(1))).prediction_id == ""
    with Http(journalled.server.http_port) as http:
        answer = http.post("/v1/models/silent:predict", {"rows": [{"features": features(1)[0].tolist()}]})
        assert HEADER not in answer.headers
        assert "prediction_id" not in answer.json
    assert "silent" not in {path.name for path in (journalled.directory / "predictions").iterdir()}


def test_the_page_of_metrics_counts_rows(journalled: Journalled) -> None:
    prediction_id, _ = by_skylane(journalled, "plain", features(4, seed=next(seeds)))
    journalled.rows_of("plain", [prediction_id])
    with Http(journalled.server.http_port) as http:
        page = http.get("/metrics").body.decode()
    kept = re.search(r'^skylane_journal_rows_total\{model="plain",result="kept"\} (\d+)', page, re.MULTILINE)
    assert kept
    assert int(kept[1]) >= 4
    assert 'skylane_journal_rows_total{model="silent"' not in page


# --- Processes --------------------------------------------------------------------------------------------------------


def ask_many(address: str, count: int, seed: int) -> list[str]:
    """The ids of so many answers, over several connections."""
    ids: list[str] = []
    for number in range(count):
        with open_channel(address) as channel:
            ids.append(predict(channel)(ask("plain", features=features(1, seed=seed + number))).prediction_id)
    return ids


def test_workers_that_are_killed_lose_only_what_was_not_yet_written_and_leave_no_torn_segment(tmp_path: Path) -> None:
    root, directory = tmp_path / "models", tmp_path / "journal"
    models.linear(root, "plain")
    (root / "plain" / "model.toml").write_text(JOURNALLED)
    arguments = ("--models", str(root), "--journal", str(directory), "--workers", "2", "--poll-s", "0")
    every: list[str] = []
    written: set[str] = set()
    for life in range(2):
        with Served(*arguments) as served:
            address = re.search(r" on (\S+:\d+) ", served.until("worker with 1 model"))
            assert address
            served.until("worker with 1 model")
            ids = ask_many(address[1], 20, seed=100 * life)
            assert len({prediction_id.partition("-")[0] for prediction_id in ids}) == 2, "both workers answered"
            every += ids
            ends_at = time.monotonic() + WAIT_S_MAX
            while not written >= set(ids) and time.monotonic() < ends_at:
                written = {row["prediction_id"] for row in rows_in(directory, "plain")}
            assert written >= set(ids)
            every += ask_many(address[1], 20, seed=100 * life + 50)
            os.kill(served.process.pid, signal.SIGKILL)
    assert len(set(every)) == len(every), "no id comes twice, whichever worker and life it is from"
    found = [row["prediction_id"] for row in rows_in(directory, "plain")]
    assert len(set(found)) == len(found)
    assert written <= set(found) <= set(every)


def test_a_server_that_stops_has_written_everything(tmp_path: Path) -> None:
    root, directory = tmp_path / "models", tmp_path / "journal"
    models.linear(root, "plain")
    (root / "plain" / "model.toml").write_text(JOURNALLED)
    with serving(root, journal=directory) as running:
        ids = ask_many(running.address, 5, seed=0)
    assert {row["prediction_id"] for row in rows_in(directory, "plain")} == set(ids)
    assert [file.suffix for file in (directory / "predictions" / "plain").iterdir()] == [".arrow"]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "with workers"])
def test_a_directory_that_cannot_be_is_said_at_the_start(tmp_path: Path, workers: Sequence[str]) -> None:
    models.linear(tmp_path / "models", "plain")
    root = str(tmp_path / "models")
    with Served("--models", root, "--journal", f"{root}/journal", *workers) as served:
        assert served.process.wait(60) == 1
        assert "journal: expected a directory outside the model repository" in served.rest()


def test_a_server_without_a_journal_does_not_import_pyarrow(tmp_path: Path) -> None:
    models.linear(tmp_path, "plain")
    (tmp_path / "plain" / "model.toml").write_text(JOURNALLED)
    code = "import sys; sys.modules['pyarrow'] = None; from skylane.server.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "--models", str(tmp_path), "--port", "0", "--http-port", "0"]
    with Served(command=command) as served:
        served.until("plain: [monitor] journal is set, but nothing is recorded: serve with --journal DIR")
        address = re.search(r" on (\S+:\d+) ", served.until("serving 1 model"))
        assert address
        assert ask_many(address[1], 1, seed=0) == [""]
