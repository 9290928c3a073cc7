"""The scenarios, and that the page tells of them as they are."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.workload.scenarios import SCENARIOS, SPIKE, STEPS, Curve, Kind, along

PAGE = Path(__file__).parents[3] / "docs" / "load-testing.md"


@pytest.mark.parametrize("name", SCENARIOS)
@given(time=st.floats(0, 1))
def test_a_load_is_a_share_of_the_full_one_which_is_reached(name: str, time: float) -> None:
    scenario = SCENARIOS[name]
    assert 0 <= scenario.curve(time) <= 1
    assert max(scenario.curve(place / 1000) for place in range(1001)) == pytest.approx(1)
    assert sum(scenario.mix.values()) == pytest.approx(1)
    assert set(scenario.mix) <= set(Kind)


@pytest.mark.parametrize(
    ("curve", "time", "load"),
    [
        pytest.param(SCENARIOS["ramp"].curve, 0.3, 0.3, id="a ramp is a straight line"),
        pytest.param(STEPS, 0.2499, 0.25, id="a step holds until its end"),
        pytest.param(STEPS, 0.25, 0.5, id="and jumps there"),
        pytest.param(SPIKE, 0.5, 1.0, id="a spike is the full load"),
        pytest.param(SPIKE, 0.61, 0.2, id="and over at once"),
        pytest.param(along((0, 0), (1, 0.5)), 7.0, 0.5, id="after the end it stays"),
    ],
)
def test_curves(curve: Curve, time: float, load: float) -> None:
    assert curve(time) == pytest.approx(load)


def test_the_page_names_every_scenario_and_says_what_it_does() -> None:
    told = dict(re.findall(r"^\| `([\w-]+)` \| (.+?) \|", PAGE.read_text(), re.MULTILINE))
    assert {name: text for name, text in told.items() if name in SCENARIOS} == {
        scenario.name: scenario.description for scenario in SCENARIOS.values()
    }
