"""A server that is killed while it records: what it acknowledged is there, and after a retry everything once."""

import threading
from pathlib import Path

from skylane import outcomes
from skylane.client import Client, SkylaneError
from support import models
from support.process import Served

SENDERS = 4
ACKNOWLEDGED_BEFORE_KILL = 25
EACH = 20
"""Outcomes of one request."""


def ids(request: int) -> list[str]:
    return [f"9f2c1a7be04d5538-{1 + request * EACH + place:x}" for place in range(EACH)]


def address(served: Served) -> str:
    return served.until("serving").rpartition(" on ")[2].partition(" (")[0].strip()


def send_until_killed(served: Served) -> tuple[set[int], set[int]]:
    """Send from several threads and kill the server meanwhile. Returns the requests that were sent and acknowledged."""
    sent, acknowledged = set[int](), set[int]()
    enough = threading.Event()
    where = address(served)

    def send(sender: int) -> None:
        with Client(where, timeout_s=30.0, options=[("grpc.enable_retries", 0)]) as client:
            for request in range(sender, 1_000_000, SENDERS):
                sent.add(request)
                try:
                    client.record_outcomes("linear", ids(request), labels=str(request))
                except SkylaneError:
                    return
                acknowledged.add(request)
                if len(acknowledged) >= ACKNOWLEDGED_BEFORE_KILL:
                    enough.set()

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    served.process.kill()
    for thread in threads:
        thread.join(60)
    return sent, acknowledged


def test_acknowledged_outcomes_survive_and_a_retry_records_each_once(tmp_path: Path) -> None:
    models.linear(tmp_path / "models")
    arguments = ("--models", str(tmp_path / "models"), "--journal", str(tmp_path / "journal"))
    with Served(*arguments) as served:
        sent, acknowledged = send_until_killed(served)

    found = outcomes.read(tmp_path / "journal", "linear")
    recorded = dict(zip(found["prediction_id"].to_pylist(), found["label"].to_pylist(), strict=True))
    assert {each: str(request) for request in acknowledged for each in ids(request)}.items() <= recorded.items()

    with Served(*arguments) as served, Client(address(served), timeout_s=30.0) as client:
        for request in sorted(sent):
            client.record_outcomes("linear", ids(request), labels=str(request))

    found = outcomes.read(tmp_path / "journal", "linear")
    again = list(zip(found["prediction_id"].to_pylist(), found["label"].to_pylist(), strict=True))
    assert sorted(again) == sorted((each, str(request)) for request in sent for each in ids(request))
    assert set(found["corrections"].to_pylist()) == {0}
