"""A lab that is terminated while it measures stops the servers and the load generators that it started."""

import os
import signal
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from skylane.bench.client.sending import Order, Sending
from skylane.bench.host.processes import tree
from skylane.bench.lab.capacity import __main__ as capacity
from skylane.bench.lab.scenarios import rounds
from skylane.bench.lab.tune import trials
from skylane.bench.workload.models import read
from skylane.cli import INTERRUPTED, main
from support.server import serving


@pytest.mark.parametrize(
    ("command", "measuring"),
    [
        pytest.param(["bench", "--seconds", "1"], (rounds, "run"), id="bench"),
        pytest.param(["bench", "capacity", "--target-p99-ms", "9"], (capacity, "find"), id="capacity"),
        pytest.param(
            ["bench", "tune", "--target-p99-ms", "9", "--keys", "target_p99_ms"],
            (trials, "_search"),
            id="tune",
        ),
    ],
)
def test_sigterm_ends_servers_too(
    command: list[str],
    measuring: tuple[ModuleType, str],
    small_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, started, handler = set(tree(os.getpid())), set[int](), signal.getsignal(signal.SIGTERM)

    def ended_meanwhile(*_: object) -> None:
        started.update(set(tree(os.getpid())) - before)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(*measuring, ended_meanwhile)
    arguments = ["--models", str(small_models), "--model", "linear", "--out", str(tmp_path), "--format", "json"]
    assert main([*command, *arguments]) == INTERRUPTED
    assert started
    assert not started & set(tree(os.getpid()))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_load_generator_does_not_outlive_whoever_waits_for_it(
    small_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    body = read(small_models)["linear"].exchange("grpc", 1).body
    minutes = np.array([0, 300_000_000])
    with serving(small_models) as server:
        sending = Sending(
            Order(address=server.address, bodies=[body], connections=1, streams=1, picks=minutes * 0, due_us=minutes),
            tmp_path,
        )
        monkeypatch.setattr(sending._process, "communicate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sending.finish()
        assert sending._process.returncode is not None
