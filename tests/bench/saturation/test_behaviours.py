"""What logs of behaviours are made into; and each of them once against real servers: what comes out, never how fast."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skylane.bench.draws import zipf
from skylane.bench.saturation import __main__ as saturation
from skylane.bench.saturation import results
from skylane.bench.saturation.behaviours import Behaviour, Stage, sample
from skylane.bench.saturation.neighbour import Neighbour
from skylane.bench.saturation.overload import Overload, goodput, part, recovered_s
from skylane.bench.saturation.results import Run, Sample, Target, reached
from skylane.bench.saturation.scenarios import Contender
from skylane.bench.sending import REFUSED, Log, on_time
from skylane.bench.servers import KINDS, running
from skylane.bench.subjects import read

OK = 200


def log(*requests: tuple[float, int, float]) -> Log:
    """Of (start, status, duration), in seconds."""
    start, status, took = (np.array(column) for column in zip(*requests, strict=True))
    return Log((start * 1e6).astype(np.int64), status.astype(np.int64), (took * 1e6).astype(np.int64), 0.0)


def test_a_late_answer_is_none_and_a_refusal_is_counted() -> None:
    where = ("overload", "x 3", "skylane", 0)
    found = sample(where, log((0, OK, 0.1), (0, OK, 2.0), (1, REFUSED, 0.002), (1, REFUSED, 0.004)), 2.0, timeout_s=1.0)
    assert (found.requests_per_s, found.offered_per_s) == (0.5, 2.0)
    assert (found.refused_share, found.refused_p99_us, found.p50_us) == (0.5, 4000.0, 100_000.0)


def test_without_a_timeout_every_answer_counts() -> None:
    found = sample(("n", "alone", "skylane", 0), log((0, OK, 0.1), (0, OK, 2.0)), 2.0)
    assert (found.requests_per_s, found.offered_per_s, found.refused_share) == (1.0, None, None)


def test_a_generator_behind_its_schedule_is_told() -> None:
    late = Log(np.array([0]), np.array([OK]), np.array([10]), 9000.0)
    assert "9.0 ms behind" in sample(("n", "alone", "skylane", 0), late, 1.0).limited


def test_goodput_counts_answers_when_they_come() -> None:
    requests = log((0.0, OK, 0.9), (0.9, OK, 0.2), (1.5, OK, 0.1), (1.0, REFUSED, 0.1), (0.2, OK, 1.3))
    assert goodput(requests, 1.0, 2.0) == 2.0
    assert goodput(requests, 0.0, 1.0) == 1.0


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param([(2.0, OK, 0.01), (2.5, OK, 0.01)], 0.0, id="as before from the start"),
        pytest.param([(2.0, REFUSED, 0.01), (2.06, OK, 0.01)], 0.05, id="one more refusal"),
        pytest.param([(2.0, OK, 0.5), (2.11, OK, 0.4), (2.2, OK, 0.01)], 0.15, id="slow while the queue empties"),
        pytest.param([(2.0, OK, 0.01), (2.26, OK, 0.9)], 0.0, id="slow again for a moment after a quarter of a second"),
        pytest.param([(2.0, OK, 0.01), (2.2, OK, 0.9)], 0.25, id="slow again before"),
        pytest.param([(2.0 + at / 5, OK, 0.9) for at in range(5)], 1.0, id="never for a quarter of a second"),
    ],
)
def test_recovered_s(after: list[tuple[float, int, float]], expected: float) -> None:
    calm = log(*((at / 10, OK, 0.02) for at in range(10)))
    assert recovered_s(calm, log(*after), 2.0, 3.0) == pytest.approx(expected, abs=1e-3)


def test_a_part_of_a_log_has_the_requests_due_in_it() -> None:
    assert part(log((0.0, OK, 1.0), (1.0, OK, 1.0), (2.0, OK, 1.0)), 1.0, 2.0).start_us.tolist() == [1_000_000]


def test_a_schedule_is_in_order_and_within_its_span() -> None:
    due_us = on_time(1000.0, 0.5, np.random.default_rng(1), start_s=2.0)
    assert len(due_us) == 500
    assert (np.diff(due_us) >= 0).all()
    assert 2_000_000 <= due_us[0] <= due_us[-1] < 2_500_000


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2])
def test_inputs_are_drawn_as_often_as_the_law_says(exponent: float) -> None:
    places = zipf(exponent, 1000, 200_000, np.random.default_rng(1))
    counts = np.bincount(places, minlength=1000)
    assert places.min() == 0
    assert places.max() < 1000
    assert counts[0] / counts[9] == pytest.approx(10**exponent, rel=0.1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(Target(scenario="single", load="8x8", metric="cpu_us", ours="slow", at_most=1.0), [500, 1000],
                     id="the metric itself"),
        pytest.param(Target(scenario="single", load="8x8", metric="requests_per_s", ours="slow", theirs="skylane",
                            at_least=0.5), [0.1, 0.1], id="a share of another's, in each round"),
        pytest.param(Target(scenario="single", load="8x8", metric="recovered_s", ours="slow", at_most=1.0), [],
                     id="nothing where it was not measured"),
    ],
)  # fmt: skip
def test_what_a_target_reached(run: Run, target: Target, expected: list[float]) -> None:
    assert reached(run, target) == pytest.approx(expected)


@pytest.fixture(scope="module")
def stage(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server of ours with small models."""
    folder, subjects = tmp_path_factory.mktemp("stage"), read(small_models)
    with running(KINDS["native"], folder, models=small_models) as server:
        server.wait_ready(subjects["linear"].exchange("grpc", 1))
        yield Stage({"native": server}, subjects, folder, 0.05)


TINY = Contender("skylane", "native", "linear")


@pytest.mark.parametrize(
    ("behaviour", "loads"),
    [
        pytest.param(Overload([TINY]), ["peak", "x 0.5", "x 3", "then"], id="overload"),
        pytest.param(Neighbour([TINY], "mixed"), ["alone", "beside", "beside"], id="a slow neighbour"),
    ],
)
def test_behaviours_yield_a_sample_for_each_load(stage: Stage, behaviour: Behaviour, loads: list[str]) -> None:
    told: list[Sample | str] = []
    samples = behaviour.measure(stage, 0, told.append)
    assert [sample.load for sample in samples] == loads
    assert [news for news in told if isinstance(news, Sample)] == samples
    assert len(samples) == behaviour.samples
    assert all(sample.requests_per_s > 0 for sample in samples)


def test_inputs_that_repeat_are_answered_from_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--rounds", "1", "--seconds", "0.05", "--without", "idle", "--out", str(tmp_path)]
    assert saturation.main([*arguments, "--only", "zipf-100"]) == 0
    (path,) = tmp_path.glob("*.json")
    run = results.load(path)
    hits = {(sample.load, sample.contender): sample.hit_share for sample in run.samples}
    assert [hits[load, "skylane"] for load in ("0.8", "1", "1.2")] == [None] * 3
    assert 0 < (hits["0.8", "skylane, cache on"] or 0) < (hits["1.2", "skylane, cache on"] or 0) < 1
    assert all(sample.batch_rows for sample in run.samples)
    assert all(reached(run, target) for target in run.targets)
    assert "zipf-100 1.2" in capsys.readouterr().out
