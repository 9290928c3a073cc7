"""What makes a run fail, and how it is said."""

from collections.abc import Sequence

import pytest

from skylane.bench.load.thresholds import Row, Thresholds, broken

FINE = Row("predict late", 1000, 0, 4.0)
SLOW = Row("infer late", 1000, 0, 25.0)
LARGE = Row("predict late, 500 rows", 10, 0, 90.0, judged=False)
FAILING = Row("predict late, refused for overload", 60, 60, 1.0, judged=False)


@pytest.mark.parametrize(
    ("thresholds", "rows", "said"),
    [
        pytest.param(Thresholds(), [FINE, SLOW, LARGE], [], id="nobody asked how fast it should be"),
        pytest.param(Thresholds(p99_ms=25), [FINE, SLOW], [], id="as slow as it may be"),
        pytest.param(
            Thresholds(p99_ms=10), [FINE, SLOW],
            ["p99 of infer late: 25 ms, 2.5 times the 10 ms of --max-p99-ms"],
            id="too slow: which, by how much, and by whose word",
        ),
        pytest.param(Thresholds(p99_ms=10), [FINE, LARGE], [], id="what is large on purpose is not held against it"),
        pytest.param(
            Thresholds(), [FINE, FAILING],
            ["60 of 1,060 requests failed, 5.66%; --max-error-rate allows 1.00% "
             "(most of them: predict late, refused for overload)"],
            id="too many failed",
        ),
        pytest.param(Thresholds(error_rate=0.06), [FINE, FAILING], [], id="as many failed as may"),
        pytest.param(Thresholds(error_rate=None), [FAILING], [], id="nobody asked how many may fail"),
        pytest.param(
            Thresholds(), [], ["no request was sent: is the server there, and did the test last long enough?"],
            id="a run without requests has shown nothing",
        ),
        pytest.param(
            Thresholds(p99_ms=1), [Row("never asked", 0, 0, 0.0), FINE],
            ["p99 of predict late: 4 ms, 4.0 times the 1 ms of --max-p99-ms"],
            id="one that was never asked is left out",
        ),
    ],
)  # fmt: skip
def test_broken(thresholds: Thresholds, rows: Sequence[Row], said: list[str]) -> None:
    assert broken(thresholds, rows) == said
