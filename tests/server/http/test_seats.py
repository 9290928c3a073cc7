"""Who keeps its connection when there are too many."""

from hypothesis import given
from hypothesis import strategies as st

from skylane.server.http.seats import Seats


def test_who_has_rested_longest_gives_its_place_to_a_newcomer() -> None:
    seats = Seats[str](2, 1)
    assert [seats.enter(name).closed for name in "abc"] == [None, None, "a"]
    seats.mark_busy("b")
    assert seats.enter("d").closed == "c"
    seats.mark_idle("b")
    assert [seats.enter(name).closed for name in "ef"] == ["d", "b"]


def test_where_nobody_rests_there_are_reserved_places_and_the_oldest_of_them_goes() -> None:
    seats = Seats[str](1, 2)
    seats.enter("busy")
    seats.mark_busy("busy")
    assert [seats.enter(name).reserved for name in "abc"] == [True] * 3
    newest = seats.enter("d")
    assert (newest.reserved, newest.closed, newest.refused) == (True, "b", True)
    seats.mark_idle("c")
    seats.leave("busy")
    assert not seats.enter("e").reserved, "a reserved place never becomes another"


@given(st.lists(st.tuples(st.sampled_from(["enter", "wake", "rest", "leave"]), st.integers(0, 9))), st.integers(1, 4))
def test_there_are_never_more_than_there_are_places(steps: list[tuple[str, int]], places: int) -> None:
    """And nobody loses a place while its request is answered."""
    seats = Seats[int](places, 2)
    here, awake = dict[int, bool](), set[int]()
    for step, number in steps:
        if step == "enter" and number not in here:
            seat = seats.enter(number)
            if seat.closed is not None:
                assert here.pop(seat.closed) == seat.reserved
                assert seat.closed not in awake or seat.reserved
                awake.discard(seat.closed)
            here[number] = seat.reserved
        elif number in here and step != "enter":
            {"wake": seats.mark_busy, "rest": seats.mark_idle, "leave": seats.leave}[step](number)
            awake.discard(number)
            if step == "wake":
                awake.add(number)
            elif step == "leave":
                del here[number]
        assert sum(not reserved for reserved in here.values()) <= places
        assert sum(here.values()) <= 2
