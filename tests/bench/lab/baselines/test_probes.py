"""Growth of memory."""

import pytest

from skylane.bench.lab.baselines.probes import growth


@pytest.mark.parametrize(
    ("rss_mib", "expected"),
    [
        pytest.param([100.0] * 40, 0.0, id="flat"),
        pytest.param([50.0, 80.0, *[100.0] * 18], 0.0, id="what it takes to start is no growth"),
        pytest.param([100.0] * 10 + [110.0] * 10, 0.1, id="a tenth more"),
        pytest.param([100.0] * 19 + [500.0] + [100.0] * 20, 0.0, id="one reading does not matter"),
        pytest.param([100.0], 0.0, id="a single reading"),
    ],
)
def test_growth(rss_mib: list[float], expected: float) -> None:
    assert growth(rss_mib) == pytest.approx(expected)
