"""Runs on disk, and the figures picked out of them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from skylane.bench.client.sending import Log
from skylane.bench.lab.baselines.record import NULL, BaselinesRun, Sample, Target, compare, marked, reached, sample_of
from skylane.bench.lab.measure.figures import Observed, Open, measured
from skylane.bench.lab.record import load, save


def test_a_run_is_read_as_it_was_written(run: BaselinesRun, tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    save(run, path)
    assert load(path, BaselinesRun) == run


def test_a_field_that_is_not_known_is_named(run: BaselinesRun, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    save(run, path)
    path.write_text(path.read_text().replace('"took_s"', '"took"'))
    with pytest.raises(msgspec.ValidationError, match="took"):
        load(path, BaselinesRun)


def test_a_ratio_is_formed_within_each_round(run: BaselinesRun) -> None:
    found = compare(run, "single", "8x8", "cpu_us", "skylane", "slow")
    assert found is not None
    assert (found.low, found.median, found.high) == (0.1, 0.1, 0.1)  # although the second round was twice as slow


def test_what_was_not_measured_has_no_ratio(run: BaselinesRun) -> None:
    assert compare(run, "single", "1x1", "cpu_us", "skylane", "slow") is None


def test_only_rates_near_the_ceiling_of_their_own_round_are_marked(make_sample: Callable[..., Sample]) -> None:
    samples = [
        make_sample("ours", 0, 950, 10.0),
        make_sample(NULL, 0, 1000, 5.0),
        make_sample("ours", 1, 950, 10.0),
        make_sample(NULL, 1, 2000, 5.0),
        make_sample("ours", 0, 950, 10.0, load="1x1"),
    ]
    found = marked(samples)
    assert [bool(sample.limited) for sample in found] == [True, False, False, False, False]
    assert [msgspec.structs.replace(sample, limited="") for sample in found] == samples


def test_a_generator_behind_its_schedule_is_marked() -> None:
    late = Log(np.array([0]), np.array([200]), np.array([10]), 9000.0)
    figures = measured(Observed(late), Open(due_us=late.start_us, seconds=1.0))
    assert "9.0 ms behind" in sample_of(("n", "alone", "skylane", 0), figures).limited


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
def test_what_a_target_reached(run: BaselinesRun, target: Target, expected: list[float]) -> None:
    assert reached(run, target) == pytest.approx(expected)


RESULTS = sorted(Path("bench/results").glob("20*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_that_was_kept_can_be_read(path: Path) -> None:
    assert load(path, BaselinesRun).samples
