"""Several workers share the HTTP port as they share that of gRPC."""

import http.client
import os
import re
import signal
from pathlib import Path

from support import models
from support.calls import ask, features, open_channel, predict
from support.http import Http, infer, tensor
from support.process import Served

CONNECTIONS = 24
"""The kernel may spread them at random: that one of two workers gets none happens once in 8 million runs."""
ONE = infer(tensor("features", features(1)))


def test_every_worker_answers_on_both_ports(tmp_path: Path) -> None:
    """Each connection is with one worker; when that one is killed, its connections break and the others' do not."""
    models.linear(tmp_path)
    with Served("--models", str(tmp_path), "--workers", "2", "--http-port", "0", "--poll-s", "0") as served:
        at = re.search(r"http://127.0.0.1:(\d+)", served.until("HTTP on"))
        found = re.search(r"on 127.0.0.1:(\d+) with 2 workers \(pids (\d+), (\d+)\)", served.until("with 2 workers"))
        assert at
        assert found
        with open_channel(f"127.0.0.1:{found[1]}") as channel:
            assert predict(channel)(ask("linear", features=features(1)), timeout=60).version == 1
        held = [Http(int(at[1])) for _ in range(CONNECTIONS)]
        assert [each.post("/v2/models/linear/infer", ONE).status for each in held] == [200] * CONNECTIONS
        os.kill(int(found[2]), signal.SIGKILL)
        served.until("the next one starts now")
        assert 0 < sum(map(answers, held)) < CONNECTIONS
        served.until("is ready after")
        with Http(int(at[1])) as new:
            assert new.post("/v2/models/linear/infer", ONE).status == 200
        for each in held:
            each.connection.close()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def answers(connection: Http) -> bool:
    """Whether its worker is still there; a broken connection is not opened anew."""
    connection.connection.auto_open = 0
    try:
        return connection.post("/v2/models/linear/infer", ONE).status == 200
    except (OSError, http.client.HTTPException):
        return False
