"""Clients while a server is away, hangs and comes back: both kinds, against a real server process."""

import asyncio
import inspect
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skylane.client import AsyncClient, Client, DeadlineExceeded, Prediction, SkylaneError
from support.process import Served

ROW = np.ones((1, 20), np.float32)
ATTEMPTS, PAUSE_S_MAX = 8, 10.0
"""gRPC's own pause before the eighth attempt to connect is 13 s or more, ours 1.2 s or less."""
CALLS_MAX = 600


class Caller:
    """A client of either kind, called as if it blocked."""

    def __init__(self, kind: type[Client] | type[AsyncClient], address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.client: Any = kind(address)

    def predict(self, timeout_s: float) -> Prediction:
        result = self.client.predict("linear", ROW, timeout_s=timeout_s)
        answer: Prediction = self._loop.run_until_complete(result) if inspect.isawaitable(result) else result
        return answer

    def answered(self) -> Prediction:
        """The first answer of repeated calls."""
        for _ in range(CALLS_MAX):
            try:
                return self.predict(0.1)
            except SkylaneError as error:
                last = error
        raise AssertionError(f"no answer in {CALLS_MAX} calls") from last

    def close(self) -> None:
        closing = self.client.close()
        if inspect.isawaitable(closing):
            self._loop.run_until_complete(closing)
        self._loop.close()


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else is given while the test lasts."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])


@pytest.fixture(params=[Client, AsyncClient])
def caller(request: pytest.FixtureRequest, port: int) -> Iterator[Caller]:
    """A client of this port."""
    with closing(Caller(request.param, f"127.0.0.1:{port}")) as caller:
        yield caller


def serve(models: Path, port: int) -> Served:
    """A server on this port, to be entered."""
    return Served("--models", str(models), "--host", "127.0.0.1", "--port", str(port), "--poll-s", "0")


def stop(served: Served) -> None:
    """Stop the server where it is, and wait until all its threads stand still."""
    served.process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(served.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def fail_attempts(caller: Caller, port: int) -> None:
    """Let the client connect to a listener that closes every connection at once, and wait for it to come back."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(PAUSE_S_MAX)
        for _ in range(ATTEMPTS):
            with pytest.raises(SkylaneError):
                caller.predict(0.05)
            listener.accept()[0].close()


def test_after_an_outage_with_many_attempts_the_client_is_back(small_models: Path, port: int, caller: Caller) -> None:
    with serve(small_models, port) as first:
        first.until("serving")
        assert caller.answered().version == 1
    fail_attempts(caller, port)
    with serve(small_models, port) as second:
        second.until("serving")
        assert caller.answered().version == 1


def test_a_server_that_hangs_answers_again_when_it_goes_on(small_models: Path, port: int, caller: Caller) -> None:
    with serve(small_models, port) as served:
        served.until("serving")
        assert caller.answered().version == 1
        stop(served)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                caller.predict(0.1)
        served.process.send_signal(signal.SIGCONT)
        assert caller.answered().version == 1


def test_a_client_that_meets_a_server_that_hangs_is_answered_when_it_goes_on(
    small_models: Path, port: int, caller: Caller
) -> None:
    with serve(small_models, port) as served:
        served.until("serving")
        stop(served)
        with pytest.raises(DeadlineExceeded):
            caller.predict(0.1)  # the kernel takes the connection, and nobody speaks HTTP/2 on it
        served.process.send_signal(signal.SIGCONT)
        assert caller.answered().version == 1
