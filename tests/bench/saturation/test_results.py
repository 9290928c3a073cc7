"""Runs on disk, and the figures picked out of them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from skylane.bench.saturation import results
from skylane.bench.saturation.results import NULL, Run, Sample


def test_a_run_is_read_as_it_was_written(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    results.save(run, path)
    assert results.load(path) == run


def test_a_field_that_is_not_known_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    results.save(run, path)
    path.write_text(path.read_text().replace('"took_s"', '"took"'))
    with pytest.raises(msgspec.ValidationError, match="took"):
        results.load(path)


def test_a_ratio_is_formed_within_each_round(run: Run) -> None:
    found = results.compare(run, "single", "8x8", "cpu_us", "skylane", "slow")
    assert found is not None
    assert (found.low, found.median, found.high) == (0.1, 0.1, 0.1)  # although the second round was twice as slow


def test_what_was_not_measured_has_no_ratio(run: Run) -> None:
    assert results.compare(run, "single", "1x1", "cpu_us", "skylane", "slow") is None


def test_only_rates_near_the_ceiling_of_their_own_round_are_marked(make_sample: Callable[..., Sample]) -> None:
    samples = [
        make_sample("ours", 0, 950, 10.0),
        make_sample(NULL, 0, 1000, 5.0),
        make_sample("ours", 1, 950, 10.0),
        make_sample(NULL, 1, 2000, 5.0),
        make_sample("ours", 0, 950, 10.0, load="1x1"),
    ]
    judged = results.judged(samples)
    assert [bool(sample.limited) for sample in judged] == [True, False, False, False, False]
    assert [msgspec.structs.replace(sample, limited="") for sample in judged] == samples
