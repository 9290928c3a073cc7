"""Which measurements are the generator's own, and what it does alone."""

from pathlib import Path

import pytest

from skylane.bench.lab.measure.generator_limit import Ceiling, ceiling, limited_by_generator
from skylane.bench.workload.models import read
from skylane.bench.workload.payloads import grpc_reply

ALONE = Ceiling(requests_per_s=10_000, cpu_us=90)


@pytest.mark.parametrize(
    ("rate", "cores", "server_cores", "late_us", "p99_us", "reason"),
    [
        pytest.param(7_900, 0.7, 0.9, 100.0, 2e3, "", id="far enough from its own limits: reported"),
        pytest.param(8_100, 0.7, 0.9, 100.0, 2e3, "81 % of what the generator does", id="too near its own rate"),
        pytest.param(1_000, 0.1, 0.1, 1_500.0, 2e3, "1.5 ms behind its schedule", id="most of the latency is its own"),
        pytest.param(1_000, 0.1, 0.1, 1_500.0, 8e3, "", id="as late, but of a much longer latency a small share"),
        pytest.param(1_000, 0.1, 0.1, 900.0, None, "", id="a little late, nothing answered: the server's doing"),
        pytest.param(1_000, 0.95, 0.95, 100.0, 2e3, "95 % of its core", id="a schedule and no core left"),
        pytest.param(1_000, 0.95, 0.4, None, 2e3, "95 % of its core", id="closed loop, the server had time left"),
        pytest.param(1_000, 0.95, 0.95, None, 2e3, "", id="closed loop, the server had none either"),
        pytest.param(1_000, 0.95, None, None, 2e3, "95 % of its core", id="closed loop, the server out of sight"),
    ],
)
def test_what_limits(
    rate: float, cores: float, server_cores: float | None, late_us: float | None, p99_us: float | None, reason: str
) -> None:
    found = limited_by_generator(
        requests_per_s=rate, generator_cores=cores, server_cores=server_cores, late_us=late_us, p99_us=p99_us,
        ceiling=ALONE,
    )  # fmt: skip
    assert (reason in found) if reason else not found


def test_without_a_ceiling_the_rate_says_nothing() -> None:
    assert not limited_by_generator(
        requests_per_s=1e9, generator_cores=0.5, server_cores=None, late_us=0.0, p99_us=1.0, ceiling=None
    )


def test_the_harness_measures_itself(small_models: Path, tmp_path: Path) -> None:
    endpoint = read(small_models)["mixed"]
    answers = {endpoint.exchange("grpc", rows).body: grpc_reply("mixed", {}) for rows in (1, 2)}
    own = ceiling(answers, tmp_path, connections=2, streams=2, seconds=0.05)
    assert own.requests_per_s > 0
    assert own.cpu_us > 0
