"""Facts about a column's numbers: steps survive single precision, units are guessed from name and range."""

import numpy as np
import pytest

from skylane.statistics.drift.facts import find_step, follows_time, guess_unit, known_values
from skylane.statistics.drift.own_blocks import discoveries, p_value, summarised


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.arange(0, 40) * 1.15078, (1.15078, 0.0), id="knots in miles per hour"),
        pytest.param(32 + 1.8 * np.random.default_rng(0).integers(-100, 300, 90) / 10, (0.18, -0.04), id="°C in °F"),
        pytest.param(np.arange(5, 24), (1.0, 0.0), id="whole numbers"),
        pytest.param(np.array([2.0, 5.0, 10.0, 12.0]), (1.0, 0.0), id="a step that no two neighbours have"),
        pytest.param(np.random.default_rng(0).normal(size=300), None, id="continuous"),
        pytest.param(np.array([0.0, 1.0]), None, id="two numbers have no step"),
    ],
)
def test_steps(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", expected: tuple[float, float] | None) -> None:
    single = np.unique(values.astype(np.float32).astype(np.float64))
    found = find_step(single, np.full(len(single), 10.0))
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-5, abs=1e-5))


def test_rare_numbers_are_not_named() -> None:
    assert known_values(np.array([1.0, 2.0, 3.0]), np.array([5000.0, 5000.0, 1.0])) == (1.0, 2.0)
    assert known_values(np.array([1.0, 2.0]), np.array([4.0, 4.0])) == ()


@pytest.mark.parametrize(
    ("name", "low", "high", "unit"),
    [
        ("temp", 10.9, 100.0, "°F"), ("temperature", -12.0, 36.0, "°C"), ("temp_out", 261.0, 309.0, "K"),
        ("pressure", 985.0, 1042.0, "hPa"), ("wind_speed", 0.0, 42.6, "mph"), ("humidity", 0.1, 0.98, "share"),
        ("distance", 80.0, 4983.0, None), ("visib", 0.0, 10.0, "mi"), ("visibility_m", 0.0, 9999.0, "m"),
    ],
)  # fmt: skip
def test_units_are_guessed(name: str, low: float, high: float, unit: str | None) -> None:
    assert guess_unit(name, low, high) == unit


def test_a_month_follows_time_and_a_temperature_does_not() -> None:
    months, season = np.arange(273) // 30, -np.cos(np.arange(273) / 365 * 2 * np.pi)
    assert follows_time(months.astype(float), 0.0, 2.6)
    assert not follows_time(season, 0.1, 0.7)


def test_p_values_go_on_beyond_the_largest_own_block() -> None:
    own = summarised(np.random.default_rng(0).pareto(3, 300) + 1)
    assert p_value(own, own.median, 300) == pytest.approx(0.5)
    assert p_value(own, 2 * own.largest, 300) < p_value(own, own.largest, 300) < 0.02
    assert p_value(own, 1e9, 13) == 1.0, "too few blocks tell nothing"


def test_benjamini_and_hochberg() -> None:
    assert discoveries({"a": 0.001, "b": 0.3, "c": 0.012, "d": 0.9}, 0.05) == {"a", "c"}
    assert discoveries({"a": 0.04, "b": 0.3}, 0.05) == set()
