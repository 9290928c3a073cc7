"""A small run, made by hand."""

from collections.abc import Callable

import pytest

from skylane.bench.host.machine import Machine
from skylane.bench.lab.baselines.record import NULL, BaselinesRun, Sample, Soak, Target

MakeSample = Callable[..., Sample]


@pytest.fixture
def make_sample() -> MakeSample:
    """A sample whose rate and CPU are given, all else plausible."""
    return _sample


def _sample(
    contestant: str, round_: int, rate: float, cpu_us: float, *, load: str = "8x8", scenario: str = "single"
) -> Sample:
    return Sample(
        scenario=scenario, load=load, contestant=contestant, round=round_, requests=1000, wall_s=1000 / rate,
        requests_per_s=rate, wall_us=1e6 / rate, p50_us=50.0, p99_us=90.0, p999_us=1200.0, cpu_us=cpu_us,
        server_cores=0.9, generator_cores=0.5, rss_mib=100.0, other_cores=0.25,
    )  # fmt: skip


@pytest.fixture
def run() -> BaselinesRun:
    """Two rounds of three contenders, a target that is met, and a soak."""
    samples = [
        sample
        for round_, busy in ((0, 1.0), (1, 2.0))
        for sample in (
            _sample("skylane", round_, 20_000 / busy, 50 * busy),
            _sample("slow", round_, 2_000 / busy, 500 * busy),
            _sample(NULL, round_, 30_000 / busy, 20 * busy),
        )
    ]
    return BaselinesRun(
        started_at="2026-01-02T03:04:05+00:00",
        took_s=10.0,
        commit="abc1234",
        machine=Machine(cpu="a | b", cores=2, memory_mib=1000, kernel="Linux 6", python="3.11", load_before=0.1),
        libraries={"numpy": "2"},
        settings={"generator": "h2load", "rounds": 2, "seconds": 1.0, "baselines": {"single": "slow"}},
        scenarios={"single": "one model"},
        targets=(Target(scenario="single", load="8x8", metric="cpu_us", ours="skylane", theirs="slow", at_most=1 / 9),),
        samples=tuple(samples),
        soak=Soak(
            contestant="skylane", load="8x8", requests=9, seconds=(0.0, 30.0, 60.0), rss_mib=(90.0, 100.0, 101.0)
        ),
        skipped={"workers": "not yet"},
    )
