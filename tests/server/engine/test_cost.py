"""CostModel: exact where it was measured, between and beyond by the nearest two measurements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.engine.cost import CostModel


@pytest.mark.parametrize(
    ("measured", "rows", "seconds"),
    [
        pytest.param([(1, 2.0), (9, 10.0)], 1, 2.0, id="exact at the first measurement"),
        pytest.param([(1, 2.0), (9, 10.0)], 9, 10.0, id="exact at the last measurement"),
        pytest.param([(1, 2.0), (9, 10.0)], 5, 6.0, id="linear in between"),
        pytest.param([(1, 2.0), (9, 10.0)], 17, 18.0, id="beyond the last it grows as it did before"),
        pytest.param([(1, 2.0), (3, 2.0), (5, 8.0)], 6, 11.0, id="beyond the last only its own stretch counts"),
        pytest.param([(8, 2.0), (9, 10.0)], 1, 2.0, id="below the first it is taken to be the first"),
        pytest.param([(4, 2.0)], 4, 2.0, id="a single measurement is exact"),
        pytest.param([(4, 2.0)], 1, 2.0, id="below a single measurement it is that one"),
        pytest.param([(4, 2.0)], 10, 5.0, id="beyond a single measurement rows cost the same each"),
        pytest.param([(1, 5.0), (8, 4.0)], 100, 5.0, id="noise that makes more rows cheaper is not extrapolated"),
    ],
)
def test_seconds(measured: list[tuple[int, float]], rows: int, seconds: float) -> None:
    assert CostModel(measured).seconds(rows) == seconds


increasing = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(1e-6, 10.0)), min_size=1, max_size=6, unique_by=lambda point: point[0]
).map(lambda points: list(zip(sorted(r for r, _ in points), sorted(s for _, s in points), strict=True)))


@given(measured=increasing, rows=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)))
def test_more_rows_never_cost_less_if_none_did_when_measured(
    measured: list[tuple[int, float]], rows: tuple[int, int]
) -> None:
    cost = CostModel(measured)
    fewer, more = sorted(rows)
    assert 0 < cost.seconds(fewer) <= cost.seconds(more) * (1 + 1e-12)


@given(measured=increasing)
def test_it_is_exact_at_every_measurement(measured: list[tuple[int, float]]) -> None:
    cost = CostModel(measured)
    for rows, seconds in measured:
        assert cost.seconds(rows) == pytest.approx(seconds, rel=1e-12)


def test_it_learns_from_runs_but_not_from_a_single_one() -> None:
    cost = CostModel([(1, 1.0), (9, 9.0)])
    cost.observe(5, 50.0)
    assert cost.seconds(5) == pytest.approx(5 * 1.45)
    for _ in range(200):
        cost.observe(5, 10.0)
    assert cost.seconds(9) == pytest.approx(18.0, rel=1e-3)


@given(measured=increasing, seconds=st.floats(1e-6, 20.0))
def test_rows_within_are_the_most_that_are(measured: list[tuple[int, float]], seconds: float) -> None:
    cost = CostModel(measured)
    rows = cost.rows_within(seconds, 5000)
    assert rows == 0 or cost.seconds(rows) <= seconds
    assert rows == 5000 or cost.seconds(rows + 1) > seconds


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        pytest.param([(1, 12e-6)], "12 µs for 1 row", id="one measurement"),
        pytest.param([(1, 12e-6), (8, 20e-6), (64, 1e-4)], "12 µs for 1 row, 100 µs for 64 rows", id="only both ends"),
    ],
)
def test_its_text_is_for_the_log(measured: list[tuple[int, float]], text: str) -> None:
    assert str(CostModel(measured)) == text
