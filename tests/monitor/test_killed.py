"""Server and monitor killed again and again: no row twice, no recorded row missing, no acknowledged outcome lost."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from skylane import journal, outcomes
from skylane.client import Client
from skylane.monitor import rows as block_rows
from skylane.monitor.monitor import Monitor
from skylane.monitor.state import State
from support import models
from support.process import Served

MODEL = "linear"
ROUNDS = 4
CALLS = 60
FAR_US = 4_000_000_000_000_000


@contextmanager
def monitored(directory: Path, repository: Path, state: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`skylane monitor` that passes all the time; killed at the end."""
    options = ("--journal", directory, "--models", repository, "--state", state, "--interval", "0.01")
    process = subprocess.Popen([sys.executable, "-m", "skylane.monitor.command", *map(str, options)])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_each_row_and_outcome_counts_once(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    repository, directory, state_path = tmp_path / "models", tmp_path / "journal", tmp_path / "monitor.sqlite"
    models.linear(repository)
    (repository / MODEL / "model.toml").write_text("[monitor]\njournal = true\n")
    directory.mkdir(mode=0o700)
    acknowledged: set[str] = set()
    for _ in range(ROUNDS):
        server_ends, monitor_ends = random.randrange(CALLS // 2, CALLS), random.randrange(CALLS // 2)
        with Served("--models", str(repository), "--journal", str(directory)) as server:
            address = server.until("serving 1 model on").split(" on ")[1].split()[0]
            with Client(address) as client, monitored(directory, repository, state_path):
                for _ in range(monitor_ends):
                    acknowledged.add(_ask(client))
            with Client(address) as client, monitored(directory, repository, state_path):
                before = _recorded(directory)
                while _recorded(directory) == before:  # a server that is killed before its first flush records nothing
                    acknowledged.add(_ask(client))
                for _ in range(server_ends):
                    acknowledged.add(_ask(client))
                server.process.kill()
    with State(state_path) as state:
        Monitor(state, [directory], repository).run(FAR_US)
        kept = [
            (name, row)
            for block, _ in state.blocks(MODEL)
            for table in [block_rows.decode(part.content for part in state.parts(MODEL, block))]
            for name, row in zip(table["prediction_id"].to_pylist(), table["row"].to_pylist(), strict=True)
        ]
    recorded = journal.read(directory, MODEL)
    there = list(zip(recorded["prediction_id"].to_pylist(), recorded["row"].to_pylist(), strict=True))
    assert max(Counter(kept).values()) == 1
    assert sorted(kept) == sorted(there)
    labelled = outcomes.read(directory, MODEL)["prediction_id"].to_pylist()
    assert sorted(labelled) == sorted(acknowledged)


def _recorded(directory: Path) -> int:
    """Rows that are in the journal now."""
    try:
        return int(journal.read(directory, MODEL).num_rows)
    except journal.JournalNotFound:
        return 0


def _ask(client: Client) -> str:
    """One prediction, and its outcome: returns when the server has acknowledged both."""
    answer = client.predict(MODEL, {"features": np.ones((2, 20), np.float32)})
    client.record_outcomes(MODEL, answer.prediction_id, labels=["1"])
    return answer.prediction_id
