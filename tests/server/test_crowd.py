"""Connections that were refused: each is counted, and the log has a line now and then."""

import pytest

from server.crowd import TOLD_S, Crowd


def test_all_are_counted_and_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd("grpc", 7, "--max-connections allows more")
    for at in (0.0, 1.0, 2.0, TOLD_S, TOLD_S + 1.0, 2 * TOLD_S):
        crowd.refuse(at)
    assert crowd.refused == 6
    told = "the grpc port has 7 connections, as many as it may: others are closed at once, %d so far; --max-connections"
    assert [message.removesuffix(" allows more") for message in caplog.messages] == [
        told % so_far for so_far in (1, 4, 6)
    ]
