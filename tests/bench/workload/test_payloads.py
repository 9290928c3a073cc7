"""A wrong reply is never taken for a right one."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from skylane.bench.workload.payloads import (
    Array,
    Exchange,
    WrongAnswer,
    framed,
    grpc_exchange,
    grpc_reply,
    json_exchange,
)
from skylane.v1 import prediction_pb2 as pb

RIGHT: dict[str, Array] = {
    "label": np.array([1], np.int64),
    "probabilities": np.array([[0.25, 0.75]], np.float32),
}


@pytest.fixture
def over_grpc() -> Exchange:
    return grpc_exchange("m", {"x": np.zeros((1, 2), np.float32)}, RIGHT)


def test_the_right_answer_passes(over_grpc: Exchange) -> None:
    over_grpc.check(grpc_reply("m", RIGHT))


def test_strings_travel_as_strings() -> None:
    words = {"word": np.array(["é", ""], object)}
    grpc_exchange("m", words, words).check(grpc_reply("m", words))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        pytest.param(lambda: b"", "no output 'label'", id="empty: what an error has"),
        pytest.param(lambda: b"\xff\xff", "no PredictResponse", id="not a message"),
        pytest.param(lambda: grpc_reply("m", {"label": RIGHT["label"]}), "no output 'probabilities'", id="half of it"),
        pytest.param(lambda: grpc_reply("m", RIGHT | {"label": np.array([0])}), "'label' is", id="another label"),
        pytest.param(
            lambda: grpc_reply("m", RIGHT | {"probabilities": np.array([[0.26, 0.74]], np.float32)}),
            "'probabilities' is",
            id="other numbers",
        ),
        pytest.param(
            lambda: grpc_reply("m", RIGHT | {"label": np.array([1, 1])}), "'label' is", id="another number of rows"
        ),
    ],
)
def test_a_wrong_answer_is_told(over_grpc: Exchange, reply: Callable[[], bytes], why: str) -> None:
    with pytest.raises(WrongAnswer, match=why):
        over_grpc.check(reply())


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        pytest.param({"label": [1], "probabilities": [[0.25, 0.75]]}, True, id="right"),
        pytest.param({"label": [0], "probabilities": [[0.25, 0.75]]}, False, id="another label"),
        pytest.param({"detail": "no model"}, False, id="an error"),
        pytest.param("busy", False, id="not an object"),
    ],
)
def test_json_replies_are_checked_too(reply: object, right: bool) -> None:
    exchange = json_exchange("m", np.zeros((1, 2), np.float32), RIGHT)
    if right:
        exchange.check(json.dumps(reply).encode())
    else:
        with pytest.raises(WrongAnswer):
            exchange.check(json.dumps(reply).encode())


def test_a_framed_message_says_its_length(over_grpc: Exchange) -> None:
    assert framed(b"abc") == b"\x00\x00\x00\x00\x03abc"
    assert pb.PredictRequest.FromString(over_grpc.body[5:]).model == "m"
    assert over_grpc.reply_bytes(b"abc") == 8
