"""Outcomes over gRPC on both transports and over HTTP: recorded once, refused by name, and only from who may."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from skylane import journal, outcomes
from skylane.client import (
    AsyncClient,
    Client,
    FailedPrecondition,
    NotFound,
    OutcomeReceipt,
    OutcomesRefused,
    PermissionDenied,
    SkylaneError,
    Unauthenticated,
)
from skylane.outcomes import JoinCounts
from skylane.server.core.settings import Transport
from skylane.v1 import outcomes_pb2 as pb
from support import models
from support.calls import features, open_channel
from support.http import Http
from support.process import Served
from support.security import section
from support.server import RunningServer, serving

LANDED = datetime(2013, 7, 1, 18, 3, tzinfo=UTC)
PATH = "/v1/models/linear:outcomes"


def call(number: int) -> str:
    return f"9f2c1a7be04d5538-{number:x}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.mixed(root)
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path, transport: Transport) -> Iterator[RunningServer]:
    with serving(root, transport, http_port=0, journal=tmp_path / "journal") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def test_what_is_acknowledged_can_be_read(client: Client, tmp_path: Path) -> None:
    receipt = client.record_outcomes("linear", call(1), labels=["1", 0], known_at=LANDED)

    assert receipt == OutcomeReceipt(accepted=2, unknown=2)
    found = outcomes.read(tmp_path / "journal", "linear").to_pylist()
    assert [(row["prediction_id"], row["row"], row["label"], row["known_at"], row["sender"]) for row in found] == [
        (call(1), 0, "1", LANDED, "(loopback)"),
        (call(1), 1, "0", LANDED, "(loopback)"),
    ]


def test_recording_again_repeats_and_something_else_corrects(client: Client, tmp_path: Path) -> None:
    client.record_outcomes("linear", [call(1), call(2)], labels=["1", "1"], known_at=LANDED)

    later = LANDED + timedelta(hours=1)
    receipt = client.record_outcomes("linear", [call(1), call(2)], labels=["1", "0"], known_at=later)

    assert (receipt.accepted, receipt.repeated, receipt.corrected) == (2, 1, 1)
    found = outcomes.read(tmp_path / "journal", "linear")
    assert (found["label"].to_pylist(), found["known_at"].to_pylist()) == (["1", "0"], [LANDED, later])


async def test_the_asynchronous_client_records_as_well(server: RunningServer, tmp_path: Path) -> None:
    async with AsyncClient(server.address) as client:
        await client.record_outcomes("linear", entities="N14228", event_at=LANDED, values=[2.5])

    (row,) = outcomes.read(tmp_path / "journal", "linear").to_pylist()
    assert (row["entity"], row["event_at"], row["value"], row["label"]) == ("N14228", LANDED, 2.5, None)


def test_many_outcomes_are_sent_in_several_requests(client: Client, tmp_path: Path) -> None:
    receipt = client.record_outcomes("linear", [call(1 + number) for number in range(10_001)], labels="1")

    assert receipt.accepted == len(outcomes.read(tmp_path / "journal", "linear")) == 10_001


def test_each_outcome_is_refused_by_itself(client: Client, tmp_path: Path) -> None:
    ids = [call(1), "no id", call(3)]
    with pytest.raises(OutcomesRefused) as refused:
        client.record_outcomes(
            "linear", ids, labels="1", happened_at=[LANDED, LANDED, datetime(2999, 1, 1, tzinfo=UTC)]
        )

    receipt = refused.value.receipt
    assert (receipt.accepted, receipt.refused, [each.index for each in receipt.refusals]) == (1, 2, [1, 2])
    assert str(refused.value) == (
        "INVALID_ARGUMENT: 2 of 3 outcomes are refused; number 1: prediction_id: expected the id of a reply, such as "
        "'9f2c1a7be04d5538-1a4', received 'no id'"
    )
    assert receipt.refusals[1].reason.startswith("happened_at: expected no time in the future, received 2999-01-01T")
    assert len(outcomes.read(tmp_path / "journal", "linear")) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        pytest.param(pb.RecordRequest(), "model: expected the name of a model, received nothing", id="no model"),
        pytest.param(
            pb.RecordRequest(model="linear", outcomes=[pb.Outcome()] * 10_001),
            "outcomes: expected at most 10000, received more",
            id="too many",
        ),
        pytest.param(b"\xff", "the message is not a skylane.v1.RecordRequest", id="no message"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_records_nothing(server: RunningServer, request_: Any, error: str) -> None:
    with open_channel(server.address) as channel:
        record: Any = channel.unary_unary("/skylane.v1.OutcomeService/Record")
        with pytest.raises(grpc.RpcError) as refused:
            record(request_ if isinstance(request_, bytes) else request_.SerializeToString())

    failed: Any = refused.value
    assert (failed.code(), failed.details()[: len(error)]) == (grpc.StatusCode.INVALID_ARGUMENT, error)


def test_a_time_that_is_none_is_refused_by_name(server: RunningServer) -> None:
    outcome = pb.Outcome(prediction_id=call(1), label="1")
    outcome.known_at.seconds = 2**60
    with open_channel(server.address) as channel:
        record: Any = channel.unary_unary("/skylane.v1.OutcomeService/Record")
        reply = pb.RecordResponse.FromString(
            record(pb.RecordRequest(model="linear", outcomes=[outcome]).SerializeToString())
        )

    assert reply.refusals[0].reason == (
        f"known_at: expected a time of the years 1 to 9999, received {2**60} s and 0 ns"
    )


def test_a_model_that_is_not_there_is_named(client: Client) -> None:
    with pytest.raises(
        NotFound, match=r"there is no model 'linea': did you mean 'linear'\? there are: linear and mixed"
    ):
        client.record_outcomes("linea", call(1), labels="1")


def test_http_records_the_same(server: RunningServer, tmp_path: Path) -> None:
    body = {
        "outcomes": [
            {"prediction_id": call(1), "row": 1, "label": 1, "known_at": "2013-07-01T14:03:00-04:00"},
            {"entity": "N14228", "event_at": "2013-07-01T18:03:00Z", "value": 2.5},
            {"prediction_id": call(2), "label": "1", "known_at": "2013-07-01T18:03:00"},
            {"prediction_id": call(2), "label": "1", "known_at": "yesterday"},
        ]
    }
    with Http(server.http_port) as http:
        answer = http.post(PATH, body)

    naive = "known_at: expected a time with a zone, such as 2013-07-01T18:03:00Z, received '2013-07-01T18:03:00'"
    text = "known_at: expected a time in ISO 8601 with a zone, such as 2013-07-01T18:03:00Z, received 'yesterday'"
    assert (answer.status, answer.json) == (
        200,
        {
            "accepted": 2, "repeated": 0, "corrected": 0, "unknown": 1, "refused": 2,
            "refusals": [{"index": 2, "reason": naive}, {"index": 3, "reason": text}],
        },
    )  # fmt: skip
    found = outcomes.read(tmp_path / "journal", "linear").to_pylist()
    assert [(row["label"], row["value"]) for row in found] == [("1", None), (None, 2.5)]
    assert found[0]["known_at"] == found[1]["event_at"] == LANDED


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        pytest.param(
            PATH,
            {"outcomes": [{"prediction_id": call(1), "lable": "1"}]},
            (
                400,
                'the body is not outcomes as JSON, {"outcomes": [{…}, …]}: Object contains unknown field `lable` - at '
                "`$.outcomes[0]`",
            ),
            id="a field that is not known",
        ),
        pytest.param(
            PATH,
            {"outcomes": [{"prediction_id": call(1), "row": -1, "label": "1"}]},
            (
                400,
                'the body is not outcomes as JSON, {"outcomes": [{…}, …]}: Expected `int` >= 0 - at '
                "`$.outcomes[0].row`",
            ),
            id="a row that cannot be",
        ),
        pytest.param(
            PATH,
            {"outcomes": [{}] * 10_001},
            (400, "outcomes: expected at most 10000, received 10001"),
            id="too many",
        ),
        pytest.param(
            "/v1/models/absent:outcomes",
            {"outcomes": []},
            (404, "there is no model 'absent': there are: linear and mixed"),
            id="no such model",
        ),
    ],
)
def test_http_refuses_by_name(server: RunningServer, path: str, body: Any, error: tuple[int, str]) -> None:
    with Http(server.http_port) as http:
        assert http.post(path, body).error == error


def test_http_records_with_post_alone(server: RunningServer) -> None:
    with Http(server.http_port) as http:
        assert http.get(PATH).error == (405, "method: expected POST at this path, received GET")


def test_without_a_journal_nothing_is_recorded(root: Path, transport: Transport) -> None:
    words = "this server records no outcomes: start it with --journal DIR"
    with (
        serving(root, transport, http_port=0) as server,
        Client(server.address) as client,
        Http(server.http_port) as http,
    ):
        with pytest.raises(FailedPrecondition, match=words):
            client.record_outcomes("linear", call(1), labels="1")
        assert http.post(PATH, {"outcomes": []}).error == (501, words)


ALLOWED: SkylaneError | None = None
DENIED = PermissionDenied("these credentials do not allow this")
UNKNOWN = Unauthenticated("this server requires a valid bearer token (authorization: Bearer …)")


@pytest.fixture(scope="module")
def guarded(
    root: Path, tmp_path_factory: pytest.TempPathFactory, transport: Transport
) -> Iterator[tuple[RunningServer, Path]]:
    """A server with tokens, each its own name; and its journal."""
    directory = tmp_path_factory.mktemp("tokens")
    (directory / "tokens.toml").write_text(
        section("airline", "outcome", models=("linear",))
        + section("labels", "predict", "outcome")
        + section("caller", "predict")
        + section("admin", "admin", "predict", "metrics")
    )
    settings: dict[str, Any] = {
        "http_port": 0,
        "tokens": directory / "tokens.toml",
        "journal": directory / "journal",
    }
    with serving(root, transport, **settings) as running:
        yield running, directory / "journal"


@pytest.mark.parametrize(
    ("token", "model", "error"),
    [
        pytest.param("airline", "linear", ALLOWED, id="the action on this model"),
        pytest.param("airline", "mixed", DENIED, id="the action on another model"),
        pytest.param("airline", "absent", DENIED, id="whether another model exists is not said"),
        pytest.param("labels", "mixed", ALLOWED, id="the action beside others"),
        pytest.param("caller", "linear", DENIED, id="no token has it by default"),
        pytest.param("admin", "linear", DENIED, id="admin does not include it"),
        pytest.param("unknown", "linear", UNKNOWN, id="a token that is not known"),
        pytest.param(None, "linear", UNKNOWN, id="no token, although the server listens on loopback alone"),
    ],
)
def test_who_may_record(
    guarded: tuple[RunningServer, Path], token: str | None, model: str, error: SkylaneError | None
) -> None:
    running, journal = guarded
    headers: dict[str, Any] = {} if token is None else {"Authorization": f"Bearer {token}"}
    metadata = [(name.lower(), value) for name, value in headers.items()]
    outcome = {"prediction_id": call(1), "label": "1"}
    with Client(running.address, metadata=metadata) as client, Http(running.http_port, **headers) as http:
        answer = http.post(f"/v1/models/{model}:outcomes", {"outcomes": [outcome]})
        if error is None:
            assert client.record_outcomes(model, call(1), labels="1").accepted == 1
            assert answer.json["accepted"] == 1
            assert token in outcomes.read_log(journal, model)["sender"].to_pylist()
            return
        with pytest.raises(type(error)) as refused:
            client.record_outcomes(model, call(1), labels="1")
        assert refused.value.detail == error.detail
        assert answer.error == ({PermissionDenied: 403, Unauthenticated: 401}[type(error)], error.detail)


def test_without_tokens_only_this_machine_may_record(root: Path, tmp_path: Path, transport: Transport) -> None:
    words = (
        "without tokens outcomes are recorded only by a server that listens on loopback addresses alone: start it with "
        "--tokens FILE, and create a token with --actions outcome"
    )
    settings: dict[str, Any] = {"http_port": 0, "journal": tmp_path, "host": "0.0.0.0"}
    with serving(root, transport, **settings) as server, Http(server.http_port) as http:
        with Client(server.address) as client, pytest.raises(PermissionDenied) as refused:
            client.record_outcomes("linear", call(1), labels="1")
        assert refused.value.detail == words
        assert http.post(PATH, {"outcomes": []}).error == (403, words)


def counted(http: Http) -> dict[str, float]:
    """Result → outcomes of `linear` that the metrics report; no other model has any."""
    (family,) = (
        each
        for each in text_string_to_metric_families(http.get("/metrics").body.decode())
        if each.name == "skylane_outcomes"
    )
    assert {sample.labels["model"] for sample in family.samples} <= {"linear"}
    return {sample.labels["result"]: sample.value for sample in family.samples}


def test_the_metrics_count_outcomes_as_their_receipts_do(client: Client, server: RunningServer) -> None:
    with Http(server.http_port) as http:
        assert counted(http) == {}
        client.record_outcomes("linear", [call(1), call(2)], labels="1")
        client.record_outcomes("linear", [call(1), call(2)], labels=["1", "0"], known_at=datetime.now(UTC))
        assert http.post(PATH, {"outcomes": [{"prediction_id": "none", "label": "1"}]}).status == 200
        assert http.post("/v1/models/absent:outcomes", {"outcomes": []}).status == 404

        assert counted(http) == {"accepted": 4, "repeated": 1, "corrected": 1, "unknown": 4, "refused": 1}


def test_the_metrics_count_the_outcomes_of_all_workers(root: Path, tmp_path: Path) -> None:
    options = ("--models", str(root), "--http-port", "0", "--workers", "2", "--journal", str(tmp_path / "journal"))
    with Served(*options) as served:
        port = re.search(r"HTTP on http://127.0.0.1:(\d+)", served.until("HTTP on"))
        served.until("with 2 workers")
        assert port
        for number in range(8):  # the kernel spreads connections over the workers
            with Http(int(port[1])) as http:
                answer = http.post(PATH, {"outcomes": [{"prediction_id": call(number + 1), "label": "1"}]})
                assert answer.json["accepted"] == 1
                assert counted(http)["accepted"] == number + 1


def test_the_api_document_lists_outcomes_where_they_are_recorded(server: RunningServer, root: Path) -> None:
    with Http(server.http_port) as http:
        operation = http.get("/openapi.json").json["paths"][PATH]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert http.post(PATH, example).json["accepted"] == 1

    with serving(root, http_port=0) as without, Http(without.http_port) as http:
        assert PATH not in http.get("/openapi.json").json["paths"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_predictions_get_their_outcomes_by_the_id_of_their_reply(
    protocol: str, tmp_path: Path, transport: Transport
) -> None:
    models.linear(tmp_path / "models")
    (tmp_path / "models" / "linear" / "model.toml").write_text("[monitor]\njournal = true\n")
    rows = features(3)
    settings: dict[str, Any] = {"http_port": 0, "journal": tmp_path / "journal"}
    with (
        serving(tmp_path / "models", transport, **settings) as server,
        Client(server.address) as client,
        Http(server.http_port) as http,
    ):
        if protocol == "grpc":
            prediction_id = client.predict("linear", rows).prediction_id
            client.record_outcomes("linear", prediction_id, labels=["1", "0", "1"])
        else:
            body = {"rows": [{"features": row.tolist()} for row in rows]}
            prediction_id = http.post("/v1/models/linear:predict", body).json["prediction_id"]
            made = [{"prediction_id": prediction_id, "row": row, "label": label} for row, label in enumerate("101")]
            assert http.post(PATH, {"outcomes": made}).json["accepted"] == 3

    joined = outcomes.join(journal.read(tmp_path / "journal", "linear"), outcomes.read(tmp_path / "journal", "linear"))

    assert joined.table["prediction_id"].to_pylist() == [prediction_id] * 3
    assert joined.table["label"].to_pylist() == ["1", "0", "1"]
    assert joined.counts == JoinCounts(predictions=3, labelled=3, outcomes=3, matched=3)
