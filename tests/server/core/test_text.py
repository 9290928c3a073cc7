"""How messages name things: quoted, of bounded length, with what was likely meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.core.text import CANDIDATES_MAX, listed, quoted, suggestion


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("model", "'model'", id="in quotes"),
        pytest.param("", "''", id="a name that is empty can be seen"),
        pytest.param("it's", '"it\'s"', id="a quote inside changes those outside"),
        pytest.param("a\nb\x1b[31m\0", r"'a\nb\x1b[31m\x00'", id="nothing reaches the terminal unescaped"),
        pytest.param("n" * 100, f"'{'n' * 100}'", id="100 characters stay whole"),
        pytest.param("n" * 101, f"'{'n' * 100}…'", id="more are cut, and it shows"),
    ],
)
def test_quoted(name: str, text: str) -> None:
    assert quoted(name) == text


@given(st.text(max_size=300))
def test_what_is_quoted_is_one_printable_line_of_bounded_length(name: str) -> None:
    text = quoted(name)
    assert text.isprintable()
    assert len(text) <= 10 * 100 + 3


@pytest.mark.parametrize(
    ("names", "limit", "text"),
    [
        pytest.param([], 20, "nothing", id="nothing"),
        pytest.param(["a"], 20, "a", id="one"),
        pytest.param(["a", "b"], 20, "a and b", id="two"),
        pytest.param([1, 2, 3], 20, "1, 2 and 3", id="three, of any kind"),
        pytest.param("abc", 3, "a, b and c", id="as many as the limit"),
        pytest.param("abcde", 3, "a, b, c and 2 more", id="beyond the limit only their number"),
    ],
)
def test_listed(names: list[object], limit: int, text: str) -> None:
    assert listed(names, limit) == text


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        pytest.param(
            "flights_lat", ["flights_late", "wine"], "did you mean 'flights_late'? ", id="a letter is missing"
        ),
        pytest.param("cat", ["dog", "horse"], "", id="nothing is close"),
        pytest.param("cat", [], "", id="nothing is known"),
        pytest.param("a" * 100_000, ["a" * 99], f"did you mean {'a' * 99!r}? ", id="a huge name is cut first"),
        pytest.param("x1", [f"x{i}" for i in range(2, 2 + CANDIDATES_MAX)], "did you mean 'x91'? ", id="among many"),
        pytest.param("x1", [f"x{i}" for i in range(1, 2 + CANDIDATES_MAX)], "", id="among too many nobody searches"),
    ],
)
def test_suggestion(name: str, known: list[str], hint: str) -> None:
    assert suggestion(name, known) == hint
