"""Student's t beside SciPy's."""

import pytest
from scipy import stats

from skylane.statistics.performance.student import t_distribution, t_quantile


@pytest.mark.parametrize("freedom", [2, 3, 12.5, 29, 364, 5000])
@pytest.mark.parametrize("probability", [0.0005, 0.025, 0.5, 0.8, 0.975, 0.9995])
def test_equals_scipy(freedom: float, probability: float) -> None:
    value = stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=1e-7, rel=1e-8)
    assert t_distribution(value, freedom) == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize(("probability", "freedom"), [(0.0, 10), (1.0, 10), (0.5, 1)])
def test_refuses_what_has_no_quantile(probability: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="expected a probability"):
        t_quantile(probability, freedom)
