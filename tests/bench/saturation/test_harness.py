"""The whole harness against real servers: what comes out, never how fast."""

import shutil
from pathlib import Path

import pytest

from skylane.bench.generator import GeneratorFailed, H2load, Load, Outcome, OwnClient
from skylane.bench.payloads import Exchange, WrongAnswer, grpc_exchange
from skylane.bench.saturation import __main__ as saturation
from skylane.bench.saturation import results
from skylane.bench.saturation.results import NULL
from skylane.bench.saturation.rounds import Served
from skylane.bench.servers import KINDS, running
from skylane.bench.subjects import read

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


def test_a_quick_run_leaves_a_file_with_every_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saturation.main(["--quick", "--seconds", "0.02", "--only", "cache", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")
    run = results.load(path)
    contenders = ["skylane, cache hit", "skylane", "grpc.aio batched", NULL]
    assert {(s.contender, s.round) for s in run.samples} == {(name, round_) for name in contenders for round_ in (0, 1)}
    assert all(s.requests >= 128 and 0 < s.p50_us <= s.p99_us <= s.p999_us for s in run.samples)
    assert {probe.name for probe in run.probes} == {"idle CPU", "idle connections"}
    assert "skylane, cache hit" in capsys.readouterr().out


def test_own_models_are_measured_as_they_are_published(small_models: Path, tmp_path: Path) -> None:
    arguments = ["--quick", "--seconds", "0.02", "--generator", "own", "--without", "idle"]
    arguments += ["--only", "mixed", "--models", str(small_models), "--out", str(tmp_path)]
    assert saturation.main(arguments) == 0
    (path,) = tmp_path.glob("*.json")
    run = results.load(path)
    assert list(run.scenarios) == ["mixed"]
    assert "Python" in run.settings["generator"]


def test_a_server_that_answers_wrongly_ends_the_run(small_models: Path, tmp_path: Path) -> None:
    subject = read(small_models)["linear"]
    wrong = {name: 1 - answer for name, answer in subject.answers(subject.rows(1)).items()}
    exchange = grpc_exchange("linear", subject.rows(1), wrong)
    with running(KINDS["grpc.aio"], tmp_path, models=small_models) as server:
        server.wait_ready(subject.exchange("grpc", 1))
        with pytest.raises(WrongAnswer):
            Served("wrong", server, "linear", exchange, OwnClient(), tmp_path).run(Load(1, 1), 10)


@needs_h2load
def test_errors_that_h2load_takes_for_successes_end_the_run(small_models: Path, tmp_path: Path) -> None:
    """gRPC says INVALID_ARGUMENT under HTTP status 200: only the bytes of the replies tell."""
    subject = read(small_models)["linear"]
    right = subject.exchange("grpc", 1)

    class Tampering(H2load):
        def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Outcome:
            broken = grpc_exchange("no-such-model", subject.rows(1), right.expected)
            return super().run(address, broken, load, requests, folder)

    with running(KINDS["native"], tmp_path, models=small_models) as server:
        server.wait_ready(right)
        with pytest.raises(WrongAnswer, match="errors"):
            Served("failing", server, "linear", right, Tampering(), tmp_path).run(Load(2, 2), 20)


@needs_h2load
def test_a_request_without_reply_ends_the_run(tmp_path: Path) -> None:
    exchange = grpc_exchange("m", {}, {})
    with pytest.raises(GeneratorFailed):
        H2load().run("127.0.0.1:9", exchange, Load(1, 1), 5, tmp_path)


def test_a_scenario_that_nobody_knows_is_refused(small_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saturation.main(["--only", "nonsense", "--models", str(small_models)]) == 2
    assert "there is linear, mixed, touchy" in capsys.readouterr().err
