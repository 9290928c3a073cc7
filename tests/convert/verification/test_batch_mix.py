"""The profile of batches that an author gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.convert.errors import BadArgument
from skylane.convert.verification.batch_mix import USUAL, Batches, batches_of


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        pytest.param("1", {1: 1.0}, id="one size"),
        pytest.param("1,64", {1: 0.5, 64: 0.5}, id="sizes without shares count alike"),
        pytest.param("1:80, 64:20", {1: 0.8, 64: 0.2}, id="shares in percent"),
        pytest.param("1:80%,64:20%", {1: 0.8, 64: 0.2}, id="and with the sign"),
        pytest.param("1:3,8:1", {1: 0.75, 8: 0.25}, id="shares in any unit"),
        pytest.param("1:1,64:0", {1: 1.0}, id="a size that never comes"),
    ],
)
def test_batches_of(text: str, shares: dict[int, float]) -> None:
    assert batches_of(text).shares == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "expected sizes such as", id="nothing"),
        pytest.param("1;64", "expected sizes such as", id="another separator"),
        pytest.param("1:80,64", "give every size a share, or none", id="some shares"),
        pytest.param("1,1", "1 appears twice", id="one size twice"),
        pytest.param("0", "1 to 65536 rows, not 0", id="no rows"),
        pytest.param("99999", "1 to 65536 rows, not 99999", id="too many rows"),
        pytest.param("1,2,3,4,5,6,7,8,9", "at most 8 sizes, not 9", id="too many sizes"),
        pytest.param("1:0", "no share is above zero", id="no share at all"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        batches_of(text)


def test_the_usual_sizes_are_timed_in_any_case() -> None:
    assert batches_of("8").sizes == (1, 8, 64, 1024)


def test_it_says_how_times_count() -> None:
    assert str(USUAL) == "50% for batches of 1 row and 50% for batches of 64 rows"


times = st.floats(0.1, 1e6)


@given(one=times, many=times, factor=st.floats(0.1, 10), share=st.floats(0, 1))
def test_law_a_ratio_counts_the_same_at_every_size(one: float, many: float, factor: float, share: float) -> None:
    batches = Batches({1: share, 64: 1 - share})
    cost = batches.cost({"1": one, "64": many})
    faster = batches.cost({"1": one / factor, "64": many / factor})
    assert faster * factor == pytest.approx(cost)
    assert min(one, many) * 0.999 <= cost <= max(one, many) * 1.001
