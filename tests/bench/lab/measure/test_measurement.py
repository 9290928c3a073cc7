"""The figures of logs made by hand, and of one real server."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.client.sending import REFUSED, GeneratorFailed, Log
from skylane.bench.lab.measure.figures import Closed, Latency, Observed, Open, measured
from skylane.bench.lab.measure.generator_limit import Ceiling
from skylane.bench.lab.measure.measurement import Endpoint, measure
from skylane.bench.lab.measure.timeline import timeline
from skylane.bench.servers import free_port
from skylane.bench.workload.arrivals import poisson_us
from skylane.bench.workload.models import read
from support.server import serving

OK, DEADLINE = 200, 4
REQUESTS = st.lists(
    st.tuples(st.floats(0, 4), st.sampled_from((OK, OK, OK, REFUSED, DEADLINE)), st.floats(0, 3)),
    min_size=1,
    max_size=50,
)


def log(*requests: tuple[float, int, float]) -> Log:
    """Of (start, status, duration), in seconds."""
    start, status, took = (np.array(column) for column in zip(*sorted(requests), strict=True))
    return Log((start * 1e6).astype(np.int64), status.astype(np.int64), (took * 1e6).astype(np.int64), 0.0)


def test_a_stalled_server_shows_its_latency_from_the_instant_that_was_meant() -> None:
    """Ten requests due every 0.1 s, all answered at 1 s: a closed loop would have seen one long wait."""
    stalled = log(*((at / 10, OK, 1 - at / 10) for at in range(10)))
    found = measured(Observed(stalled), Open(due_us=stalled.start_us, seconds=1.0))
    assert found.latency is not None
    assert (found.latency.p50_us, found.latency.max_us) == (500_000, 1_000_000)


def test_what_became_of_requests_is_counted() -> None:
    seen = log((0, OK, 0.1), (0.5, OK, 0.7), (0.9, OK, 5.0), (1, REFUSED, 0.01), (1, 3, 0.01), (1.5, 3, 0.01))
    found = measured(Observed(seen), Open(due_us=seen.start_us, seconds=2.0), in_time_s=0.5)
    assert (found.sent, found.answered, found.refused, found.errors) == (6, 3, 1, {3: 2})
    assert found.refused_p99_us == 10_000
    assert (found.offered_per_s, found.answered_per_s, found.goodput_per_s) == (3.0, 1.0, 0.5)


def test_without_answers_there_are_no_percentiles() -> None:
    assert measured(Observed(log((0, REFUSED, 0.1))), Open(due_us=np.zeros(1, np.int64), seconds=1.0)).latency is None


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=200))
def test_percentiles_rise_and_were_all_observed(took_us: list[int]) -> None:
    found = Latency.of(np.array(took_us))
    assert found is not None
    values = [found.p50_us, found.p90_us, found.p99_us, found.p999_us, found.max_us]
    assert values == sorted(values)
    assert set(values) <= set(took_us)
    assert found.max_us == max(took_us)
    for share, value in zip((0.5, 0.9, 0.99, 0.999), values, strict=False):
        assert sum(took <= value for took in took_us) >= share * len(took_us)
        assert sum(took < value for took in took_us) < share * len(took_us)


@given(requests=REQUESTS, slice_s=st.floats(0.05, 2))
def test_every_request_is_in_one_slice(requests: list[tuple[float, int, float]], slice_s: float) -> None:
    seen = log(*requests)
    found = timeline(seen, slice_s)
    assert found.offered.sum() == len(requests)
    assert found.answered.sum() + found.refused.sum() + found.failed.sum() == len(requests)
    assert found.answered.sum() == seen.ok.sum()
    assert len({len(counts) for counts in (found.offered, found.answered, found.refused, found.failed)}) == 1


def test_a_real_server_on_a_schedule_and_in_a_closed_loop(small_models: Path, tmp_path: Path) -> None:
    bodies = [read(small_models)["linear"].exchange("grpc", rows).body for rows in (1, 3)]
    with serving(small_models) as server:
        endpoint = Endpoint(server.address, "linear")
        due_us = poisson_us(200, 0.3, np.random.default_rng(1))
        at_rate = measure(endpoint, bodies, Open(due_us=due_us, seconds=0.3, connections=2), tmp_path)
        at_peak = measure(endpoint, bodies, Closed(seconds=0.1, connections=2, streams=2), tmp_path)
    for found in (at_rate, at_peak):
        assert found.answered == found.sent > 0
        assert not found.errors
        assert found.did is not None
        assert sum(found.did.batches.values()) == found.did.executions > 0
        assert found.server_cpu_us is None
    assert at_rate.sent == len(due_us)
    assert at_rate.late_us is not None
    assert at_peak.late_us is None


def test_a_rate_that_the_generator_hardly_makes_is_marked(small_models: Path, tmp_path: Path) -> None:
    body = read(small_models)["linear"].exchange("grpc", 1).body
    weak = Ceiling(requests_per_s=100, cpu_us=10_000)
    with serving(small_models) as server:
        load = Open(due_us=poisson_us(200, 0.1, np.random.default_rng(1)), seconds=0.1)
        found = measure(Endpoint(server.address, "linear"), [body], load, tmp_path, ceiling=weak)
    assert "200 % of what the generator does" in found.limited_by_generator


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    endpoint = Endpoint(f"127.0.0.1:{free_port()}", "linear")
    with pytest.raises(GeneratorFailed, match="refused"):
        measure(endpoint, [b"\0\0\0\0\0"], Closed(seconds=0.1), tmp_path)
