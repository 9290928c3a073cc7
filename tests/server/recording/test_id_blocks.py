"""Ids of predictions: different, one after the other, and what the module of ids reads."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.prediction_ids import ID_BYTES_MAX, format_id, parse_id
from skylane.server.recording.id_blocks import FIRST, Blocks, IdTaker

WRITER = "00ff00ff00ff00ff"


Taken = tuple[bytes, Sequence[bytes], int]


def texts(ids: Taken) -> list[str]:
    stem, ends, _ = ids
    return [(stem + end).decode() for end in ends]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9000)), max_size=12))
def test_no_two_calls_share_an_id_whichever_recorders_take_how_many(takes: list[tuple[int, int]]) -> None:
    blocks = Blocks(WRITER)
    takers = [IdTaker(blocks) for _ in range(3)]
    taken = [(count, takers[place].take(count)) for place, count in takes]
    assert [len(ids[1]) for _, ids in taken] == [count for count, _ in taken]
    every = [text for _, ids in taken for text in texts(ids)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("count", [1, 256, 257, 4097, 70_000])
def test_ids_are_those_of_numbers_that_follow_each_other(count: int) -> None:
    taker = IdTaker(Blocks(WRITER))
    for _ in range(3):
        ids = taker.take(count)
        assert texts(ids) == [format_id(WRITER, ids[2] + place) for place in range(count)]
        assert parse_id(texts(ids)[-1])[1] == ids[2] + count - 1
        assert len({len(text) for text in texts(ids)}) == 1


def test_a_process_begins_with_ids_of_the_length_that_they_keep() -> None:
    ids = IdTaker(Blocks(WRITER)).take(1)
    assert ids[2] == FIRST
    assert len(texts(ids)[0]) == 25 < ID_BYTES_MAX
