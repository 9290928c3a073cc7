"""The baselines against real servers: what comes out, never how fast."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from skylane.bench.client.generator import H2load, Load, OwnClient
from skylane.bench.client.sending import GeneratorFailed, Log
from skylane.bench.lab.baselines.__main__ import main
from skylane.bench.lab.baselines.contestants import Contestant, Served
from skylane.bench.lab.baselines.neighbour import Neighbour
from skylane.bench.lab.baselines.overload import Overload
from skylane.bench.lab.baselines.record import NULL, BaselinesRun, Sample, reached
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import Plan, Scenario
from skylane.bench.lab.record import load
from skylane.bench.servers import KINDS, running
from skylane.bench.workload.models import ModelSet, read
from skylane.bench.workload.payloads import Exchange, WrongAnswer, grpc_exchange

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
TINY = Contestant("skylane", "native", "linear")
SCENARIOS = (Overload([TINY]), Neighbour([TINY], "mixed"))


def saved(folder: Path) -> BaselinesRun:
    """The only run in a folder."""
    (path,) = folder.glob("*.json")
    return load(path, BaselinesRun)


@pytest.mark.slow
def test_a_quick_run_leaves_a_file_with_every_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--seconds", "0.02", "--only", "cache", "--out", str(tmp_path)]) == 0
    run = saved(tmp_path)
    contestants = ["skylane, cache hit", "skylane", "grpc.aio batched", NULL]
    assert {(s.contestant, s.round) for s in run.samples} == {(name, place) for name in contestants for place in (0, 1)}
    assert all(s.requests >= 128 and 0 < s.p50_us <= s.p99_us <= s.p999_us for s in run.samples)
    assert {probe.name for probe in run.probes} == {"idle CPU", "idle connections"}
    assert "skylane, cache hit" in capsys.readouterr().out


def test_the_model_without_a_server_is_measured_too(tmp_path: Path) -> None:
    arguments = ["--quick", "--rounds", "1", "--seconds", "0.02", "--without", "idle", "--generator", "own"]
    assert main([*arguments, "--only", "rows-logistic", "--out", str(tmp_path)]) == 0
    run = saved(tmp_path)
    assert {sample.contestant for sample in run.samples} >= {"bare session.run", "session.run and socket"}
    assert all(sample.cpu_us > 0 for sample in run.samples)
    assert all(reached(run, target) for target in run.targets if target.load == "1x1")


@pytest.mark.slow
def test_own_models_are_measured_as_they_are_published(small_models: Path, tmp_path: Path) -> None:
    arguments = ["--quick", "--seconds", "0.02", "--generator", "own", "--without", "idle"]
    arguments += ["--only", "mixed", "--models", str(small_models), "--out", str(tmp_path)]
    assert main(arguments) == 0
    run = saved(tmp_path)
    assert list(run.scenarios) == ["mixed"]
    assert "Python" in run.settings["generator"]


@pytest.mark.slow
def test_inputs_that_repeat_are_answered_from_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "1", "--seconds", "0.05", "--without", "idle", "--out", str(tmp_path)]
    assert main([*arguments, "--only", "zipf-100"]) == 0
    run = saved(tmp_path)
    hits = {(sample.load, sample.contestant): sample.hit_share for sample in run.samples}
    assert [hits[exponent, "skylane"] for exponent in ("0.8", "1", "1.2")] == [None] * 3
    assert 0 < (hits["0.8", "skylane, cache on"] or 0) < (hits["1.2", "skylane, cache on"] or 0) < 1
    assert all(sample.batch_rows for sample in run.samples)
    assert all(reached(run, target) for target in run.targets)
    assert "zipf-100 1.2" in capsys.readouterr().out


@pytest.fixture(scope="module")
def rig(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server of ours with small models."""
    folder, model_set = tmp_path_factory.mktemp("rig"), ModelSet(small_models, small_models, read(small_models))
    with contextlib.ExitStack() as stack:
        yield Rig(folder, [(TINY, 1)], model_set, OwnClient(), stack)


@pytest.mark.parametrize(
    ("scenario", "loads"),
    [
        pytest.param(SCENARIOS[0], ["peak", "x 0.5", "x 3", "then"], id="overload"),
        pytest.param(SCENARIOS[1], ["alone", "beside", "beside"], id="a slow neighbour"),
    ],
)
def test_a_scenario_yields_a_sample_for_each_load(rig: Rig, scenario: Scenario, loads: list[str]) -> None:
    plan, reported = Plan(rounds=1, seconds=0.05), list[Sample | str]()
    samples = scenario.measure(rig, plan, reported.append)
    assert [sample.load for sample in samples] == loads
    assert [news for news in reported if isinstance(news, Sample)] == samples
    assert len(samples) == scenario.samples_per_round()
    assert all(sample.requests > 0 for sample in samples)
    assert msgspec.json.decode(msgspec.json.encode(samples), type=list[Sample]) == samples


def test_a_server_that_answers_wrongly_ends_the_run(small_models: Path, tmp_path: Path) -> None:
    model = read(small_models)["linear"]
    wrong = {name: 1 - answer for name, answer in model.answers(model.rows(1)).items()}
    exchange = grpc_exchange("linear", model.rows(1), wrong)
    with running(KINDS["grpc.aio"], tmp_path, models=small_models) as server:
        server.wait_ready(model.exchange("grpc", 1))
        with pytest.raises(WrongAnswer):
            Served("wrong", server, "linear", exchange, OwnClient(), tmp_path).run(Load(1, 1), 10)


@pytest.mark.parametrize(
    "generator", [pytest.param(H2load, id="h2load", marks=needs_h2load), pytest.param(OwnClient, id="our own")]
)
def test_errors_that_the_generator_reports_end_the_run(
    generator: type[H2load | OwnClient], small_models: Path, tmp_path: Path
) -> None:
    """gRPC says INVALID_ARGUMENT under HTTP status 200, so h2load counts it as a success: only the bytes tell."""
    model = read(small_models)["linear"]
    right = model.exchange("grpc", 1)

    class Tampering:
        name = "sends something else"

        def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Log:
            broken = grpc_exchange("no-such-model", model.rows(1), exchange.expected)
            return generator().run(address, broken, load, requests, folder)

    with running(KINDS["native"], tmp_path, models=small_models) as server:
        server.wait_ready(right)
        with pytest.raises((WrongAnswer, GeneratorFailed), match=r"errors|statuses: 5"):
            Served("failing", server, "linear", right, Tampering(), tmp_path).run(Load(2, 2), 20)


@pytest.mark.parametrize(
    "generator", [pytest.param(H2load, id="h2load", marks=needs_h2load), pytest.param(OwnClient, id="our own")]
)
def test_a_request_without_reply_ends_the_run(generator: type[H2load | OwnClient], tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailed):
        generator().run("127.0.0.1:9", grpc_exchange("m", {}, {}), Load(1, 1), 5, tmp_path)


def test_an_unknown_scenario_is_refused(small_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nonsense", "--models", str(small_models)]) == 2
    assert "there are linear, mixed, touchy" in capsys.readouterr().err
