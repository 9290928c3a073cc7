"""How differences between answers are counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from skylane.convert.verification.answers import Answers
from skylane.convert.verification.parity import Case, bound, bound_below, difference, flips, measure, metric

Array = np.ndarray[Any, Any]
nan, inf = np.nan, np.inf


def numbers(*rows: float) -> Answers:
    return Answers(None, np.array(rows, np.float64).reshape(-1, 1))


def labels(*rows: object) -> Answers:
    return Answers(np.array(rows), None)


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        pytest.param(numbers(1, 2), numbers(1, 2.5), [0, 0.5], id="each row has a difference of its own"),
        pytest.param(numbers(nan), numbers(nan), [0], id="NaN agrees with NaN"),
        pytest.param(numbers(inf, -inf), numbers(inf, -inf), [0, 0], id="infinity agrees with itself"),
        pytest.param(numbers(inf), numbers(-inf), [inf], id="but not with the other one"),
        pytest.param(numbers(1), numbers(nan), [inf], id="NaN for a number is infinitely wrong"),
        pytest.param(numbers(nan), numbers(1), [inf], id="and so is a number for NaN"),
        pytest.param(labels(1), labels(2), [0], id="labels have no distance"),
        pytest.param(numbers(1, 2), labels(1, 2), [inf, inf], id="missing numbers are infinitely wrong"),
    ],
)
def test_difference(expected: Answers, actual: Answers, found: list[float]) -> None:
    assert difference(expected, actual).tolist() == found


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        pytest.param(labels(1, 2, 2), labels(1, 1, 2), [False, True, False], id="integers"),
        pytest.param(labels("a", "b"), Answers(np.array(["a", "c"], object), None), [False, True], id="texts"),
        pytest.param(labels(True, False), labels(1, 1), [False, True], id="a graph says 1 for True"),
        pytest.param(labels(1.0, 2.0), labels(1, 3), [False, True], id="a graph says 1 for 1.0"),
        pytest.param(labels(1, 2), numbers(1, 2), [True, True], id="missing labels are all wrong"),
        pytest.param(numbers(1, 2), numbers(1, 3), [False, False], id="numbers have no labels"),
    ],
)
def test_flips(expected: Answers, actual: Answers, found: list[bool]) -> None:
    assert flips(expected, actual).tolist() == found


def test_a_tie_is_no_decided_flip() -> None:
    """A forest of 100 votes 50 to 50; which label wins is the last bit of a sum."""
    expected = Answers(np.array([0, 0]), np.array([[0.5, 0.5], [0.9, 0.1]]))
    actual = Answers(np.array([1, 0]), expected.numbers)
    found = measure([Case("held-out rows", expected, actual)])
    assert (found.label_flips, found.decided_flips) == (0.5, 0.0)


def test_the_worst_case_is_named() -> None:
    good, bad = Case("held-out rows", numbers(1), numbers(1)), Case("gaps", numbers(1), numbers(3))
    found = measure([good, bad])
    assert (found.worst_case, found.worst_difference, found.held_out_difference) == ("gaps", 2.0, 0.0)


def test_bad_rows_and_the_99th_percentile_are_of_the_held_out_rows() -> None:
    actual = numbers(*[0.0] * 98, 0.5, 2.0)
    probe = Case("gaps", numbers(0), numbers(9))
    found = measure([Case("held-out rows", numbers(*[0.0] * 100), actual), probe], allowed=0.4)
    assert (found.bad_rows, found.p99_difference, found.worst_difference) == (0.02, 0.5, 9.0)
    assert [(case.name, case.rows, case.bad_rows) for case in found.cases] == [
        ("held-out rows", 100, 0.02),
        ("gaps", 1, 1),
    ]


def test_far_outside_the_sample_differences_are_relative() -> None:
    held_out = Case("held-out rows", numbers(0), numbers(0))
    far = Case("integers above 2^24", numbers(1e6, 1), numbers(1e6 + 1, 1), unit=np.array([1e6, 1.0]))
    assert measure([held_out, far]).worst_difference == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("events", "trials", "share"),
    [
        pytest.param(0, 300, 0.00994, id="none of 300 says: under one percent"),
        pytest.param(0, 3000, 0.000998, id="none of 3000 says: under one thousandth"),
        pytest.param(3, 300, 0.0256, id="one percent of 300 may be 2.6 %"),
        pytest.param(5, 5, 1.0, id="all may be all"),
        pytest.param(0, 0, 1.0, id="no rows say nothing"),
    ],
)
def test_bound(events: int, trials: int, share: float) -> None:
    assert bound(events, trials) == pytest.approx(share, rel=0.01)


def test_the_usual_cases_leave_out_extremes_and_flips_that_may_be_chance() -> None:
    """One flip of 69 says nothing of two percent; four of sixteen say that it is more."""
    held_out = Case("held-out rows", labels(*[0] * 100), labels(*[0] * 99, 1))
    few = Case("7 at a time", labels(*[0] * 69), labels(*[0] * 67, 1, 1))
    extreme = Case("highest values", labels(0, 0), labels(1, 1), extreme=True)
    found = measure([held_out, few, extreme])
    assert (found.decided_flips, found.flips_case) == (1.0, "highest values")
    assert (found.usual().decided_flips, found.usual().flips_case) == (0.01, "held-out rows")
    many = Case("beside an outlier", labels(*[0] * 16), labels(*[0] * 12, 1, 1, 1, 1))
    assert measure([held_out, many]).usual().decided_flips > 0.08


def test_answers_without_labels_have_no_bound_of_flips() -> None:
    assert measure([Case("held-out rows", numbers(1), numbers(1))]).label_flips_below is None
    assert measure([Case("held-out rows", labels(1), labels(1))]).label_flips_below == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("answers", "target", "figure"),
    [
        pytest.param(labels("a", "b"), ["a", "a"], 0.5, id="accuracy for labels"),
        pytest.param(numbers(1, 3), [1, 3], 1.0, id="R² of a perfect prediction"),
        pytest.param(numbers(2, 2), [1, 3], 0.0, id="R² of the mean"),
        pytest.param(numbers(5), [5], 0.0, id="R² where nothing varies"),
    ],
)
def test_metric(answers: Answers, target: list[object], figure: float) -> None:
    assert metric(answers, np.array(target)) == figure


blocks = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=32))


@given(blocks)
def test_law_every_answer_agrees_with_itself(block: Array) -> None:
    answers = Answers(None, block)
    assert difference(answers, answers).max(initial=0.0) == 0.0


@given(blocks, blocks)
def test_law_difference_is_symmetric_and_never_nan(one: Array, other: Array) -> None:
    forth, back = (
        difference(Answers(None, one), Answers(None, other)),
        difference(Answers(None, other), Answers(None, one)),
    )
    assert not np.isnan(forth).any()
    assert forth.max() == back.max()


@given(events=st.integers(0, 50), trials=st.integers(1, 500))
def test_law_the_bound_is_above_the_share_and_falls_with_more_rows(events: int, trials: int) -> None:
    events = min(events, trials)
    assert 0 <= bound_below(events, trials) <= events / trials <= bound(events, trials) <= 1
    assert bound(events, trials + 1) <= bound(events, trials)
