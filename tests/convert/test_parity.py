"""How differences between answers are counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from convert.answers import Answers
from convert.parity import Case, difference, flips, measure, metric

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
