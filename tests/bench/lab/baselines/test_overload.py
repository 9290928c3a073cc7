"""What the log of an overload is made into."""

import numpy as np
import pytest

from skylane.bench.client.sending import REFUSED, Log
from skylane.bench.lab.baselines.overload import AFTER, DURING, goodput, part, phase_sample, recovered_s

OK = 200


def log(*requests: tuple[float, int, float]) -> Log:
    """Of (start, status, duration), in seconds."""
    start, status, took = (np.array(column) for column in zip(*requests, strict=True))
    return Log((start * 1e6).astype(np.int64), status.astype(np.int64), (took * 1e6).astype(np.int64))


def test_a_late_answer_is_none_and_a_refusal_is_counted() -> None:
    requests = log((0, OK, 0.1), (0, OK, 2.0), (1, REFUSED, 0.002), (1, REFUSED, 0.004))
    sample = phase_sample(("overload", DURING, "skylane", 0), requests, requests, 0.0, 2.0, 0.5)
    assert (sample.requests_per_s, sample.offered_per_s) == (0.5, 2.0)
    assert (sample.refused_share, sample.refused_p99_us, sample.p50_us) == (0.5, 4000.0, 100_000.0)
    assert sample.recovered_s is None


def test_recovery_belongs_to_the_load_after_the_overload() -> None:
    requests = log((0, OK, 0.1))
    assert phase_sample(("overload", AFTER, "skylane", 0), requests, requests, 0.0, 1.0, 0.5).recovered_s == 0.5


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
