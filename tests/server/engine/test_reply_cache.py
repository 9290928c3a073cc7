"""ReplyCache: what is kept, for how long and in how much memory, and who follows whom."""

import gc
import tracemalloc
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import Nobody, PlainBlock, RecordingSink, call
from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call, Interface
from skylane.server.engine.reply_cache import ENTRY_BYTES, ReplyCache
from skylane.v1.prediction_pb2 import Column, PredictRequest, StringList
from support.calls import Array, ask

TTL_S = 10.0


def task(keys: Sequence[Hashable]) -> PlainBlock:
    return PlainBlock([call(key) for key in keys], keys=keys)


def looked_up(
    cache: ReplyCache, keys: Sequence[Hashable], now: float = 0.0
) -> tuple[dict[Hashable, bytes], list[Call]]:
    """What was kept, by key, and the calls that must run."""
    asked = task(keys)
    hits, rest = cache.look_up(asked, now)
    return {asked.calls[place].handle: entry[1] for place, entry in hits}, rest.calls


def filled(keys: str, room: int, ttl_s: float = TTL_S) -> ReplyCache:
    """A cache with room for so many replies of 100 bytes, given one under each key."""
    cache = ReplyCache(room * (ENTRY_BYTES + 110), ttl_s)
    for key in keys:
        cache.store(key, 10, bytes(100), 0.0)
    return cache


def kept(cache: ReplyCache, keys: str, now: float = 0.0) -> str:
    return "".join(key for key in keys if cache.get(key, now) is not None)


# --- What is kept ----------------------------------------------------------------------------------------------------


def test_at_first_everything_must_run() -> None:
    hits, fresh = looked_up(ReplyCache(10_000, TTL_S), "ab")
    assert (hits, [each.handle for each in fresh]) == ({}, ["a", "b"])


def test_what_is_kept_need_not_run_and_the_rest_of_the_block_must() -> None:
    cache = ReplyCache(10_000, TTL_S)
    cache.store("b", 1, b"reply", 0.0)
    hits, fresh = looked_up(cache, "abc")
    assert (hits, [each.handle for each in fresh]) == ({"b": b"reply"}, ["a", "c"])


def test_a_block_of_hits_leaves_nothing_to_run() -> None:
    cache = filled("ab", 2)
    hits, fresh = looked_up(cache, "ab")
    assert (sorted(map(str, hits)), fresh) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("now", "found"),
    [
        pytest.param(9.999, "a", id="fresh until its time"),
        pytest.param(10.0, "", id="gone at the very instant"),
        pytest.param(11.0, "", id="gone ever after"),
    ],
)
def test_time_to_live(now: float, found: str) -> None:
    assert kept(filled("a", 1), "a", now) == found


def test_what_is_too_old_leaves_its_room() -> None:
    cache = filled("a", 1)
    assert kept(cache, "a", TTL_S) == ""
    assert cache.used_bytes == 0


def test_a_reply_kept_again_is_fresh_again_and_counted_once() -> None:
    cache = filled("a", 2)
    used = cache.used_bytes
    cache.store("a", 10, bytes(100), 5.0)
    assert (kept(cache, "a", 14.0), cache.used_bytes) == ("a", used)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        pytest.param("", "bcd", id="the oldest gives way"),
        pytest.param("a", "acd", id="one that was asked for is not the oldest"),
        pytest.param("ab", "abd", id="asked for one after the other"),
        pytest.param("x", "bcd", id="asking for what is not there changes nothing"),
    ],
)
def test_the_least_recently_used_gives_way(asked: str, left: str) -> None:
    cache = filled("abc", 3)
    for key in asked:
        cache.get(key, 0.0)
    cache.store("d", 10, bytes(100), 0.0)
    assert kept(cache, "abcd") == left


def test_a_reply_that_fills_the_whole_cache_is_kept_and_one_byte_more_is_not() -> None:
    cache = ReplyCache(ENTRY_BYTES + 20, TTL_S)
    cache.store("a", 10, bytes(11), 0.0)
    assert (kept(cache, "a"), cache.used_bytes) == ("", 0)
    cache.store("a", 10, bytes(10), 0.0)
    assert (kept(cache, "a"), cache.used_bytes) == ("a", ENTRY_BYTES + 20)


def test_a_reply_too_large_to_be_kept_drives_nobody_out() -> None:
    cache = filled("abc", 3)
    cache.store("d", 10, bytes(10_000), 0.0)
    assert kept(cache, "abcd") == "abc"


@given(
    max_bytes=st.integers(0, 8 * ENTRY_BYTES),
    steps=st.lists(
        st.tuples(st.floats(0, 4), st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 5 * ENTRY_BYTES))),
        max_size=60,
    ),
)
def test_the_bound_holds_whatever_the_sequence(max_bytes: int, steps: list[tuple[float, str, int | None]]) -> None:
    """Each step lets time pass and then asks for a key, or keeps a reply of some size under it."""
    cache, now = ReplyCache(max_bytes, TTL_S), 0.0
    newest: dict[str, tuple[float, int]] = {}
    for passed, key, size in steps:
        now += passed
        if size is not None:
            cache.store(key, 1, bytes(size), now)
            if size + 1 + ENTRY_BYTES <= max_bytes:
                newest[key] = (now, size)
        elif (reply := cache.get(key, now)) is not None:
            kept_at, size = newest[key]
            assert len(reply) == size, "the newest reply answers"
            assert now < kept_at + TTL_S
        assert 0 <= cache.used_bytes <= max_bytes


# --- Who follows whom ------------------------------------------------------------------------------------------------


def test_a_call_equal_to_one_under_way_follows_it_and_comes_back_when_that_is_settled() -> None:
    cache = ReplyCache(10_000, TTL_S)
    _, (leader,) = looked_up(cache, "a")
    first, second = task("a"), task("a")
    for later in (first, second):
        hits, rest = cache.look_up(later, 0.0)
        assert (hits, rest.calls) == ([], [])
    assert cache.settle(leader) == [*first.calls, *second.calls]


def test_equal_calls_of_one_block_run_once() -> None:
    cache = ReplyCache(10_000, TTL_S)
    twins = task("aba")
    hits, rest = cache.look_up(twins, 0.0)
    assert (hits, rest.calls) == ([], twins.calls[:2])
    assert cache.settle(twins.calls[0]) == [twins.calls[2]]


def test_those_who_may_follow_are_bounded_and_the_rest_queue_for_themselves() -> None:
    cache = ReplyCache(10_000, TTL_S, followers_max=2)
    calls = task("aaaaa")
    _, rest = cache.look_up(calls, 0.0)
    assert [calls.calls.index(each) for each in rest.calls] == [0, 3, 4]
    assert cache.settle(calls.calls[3]) == [], "it leads nobody"
    assert cache.settle(calls.calls[0]) == calls.calls[1:3]
    again = task("aaa")
    assert len(cache.look_up(again, 0.0)[1].calls) == 1, "there is room to follow again"


def test_who_is_settled_leads_no_more() -> None:
    cache = ReplyCache(10_000, TTL_S)
    _, (leader,) = looked_up(cache, "a")
    assert cache.settle(leader) == []
    _, fresh = looked_up(cache, "a")
    assert [each.handle for each in fresh] == ["a"]


def test_settling_twice_gives_nothing_the_second_time_and_harms_no_later_leader() -> None:
    cache = ReplyCache(10_000, TTL_S)
    _, (old,) = looked_up(cache, "a")
    cache.settle(old)
    _, (new,) = looked_up(cache, "a")
    follower = task("a")
    cache.look_up(follower, 0.0)
    assert cache.settle(old) == []
    assert cache.settle(new) == follower.calls


def test_a_call_that_no_cache_saw_has_no_followers() -> None:
    assert ReplyCache(10_000, TTL_S).settle(call("a")) == []


def test_after_its_time_a_reply_is_made_anew_by_one_call_that_others_follow() -> None:
    cache = filled("a", 1)
    hits, (leader,) = looked_up(cache, "a", TTL_S)
    assert hits == {}
    assert looked_up(cache, "a", TTL_S) == ({}, [])
    assert len(cache.settle(leader)) == 1


# --- Keys, as the codec makes them -----------------------------------------------------------------------------------

PLAIN = Interface(
    "m",
    1,
    (TensorSpec(name="x", dtype="float32", shape=(None, None)),),
    (),
    (OutputSpec(name="y", dtype="float32", shape=(None, 1)), OutputSpec(name="z", dtype="float32", shape=(None, 1))),
)
COLUMNS = Interface(
    "m",
    1,
    (TensorSpec(name="s", dtype="string", shape=(None, 2)),),
    (
        ColumnSpec(name="a", dtype="string", tensor="s", index=0),
        ColumnSpec(name="b", dtype="string", tensor="s", index=1),
    ),
    (OutputSpec(name="y", dtype="string", shape=(None, 2)),),
)


def bound(decoder: RequestDecoder, interface: Interface, requests: Sequence[PredictRequest]) -> list[BatchTask]:
    sink = RecordingSink()
    calls = [Call(place, sink) for place in range(len(requests))]
    asks = decoder.decode(calls, [request.SerializeToString() for request in requests], sink)
    assert sink.got == []
    return [task for task, _ in (each.bind(interface) for each in asks) if task is not None]


def keys(request: PredictRequest, *, interface: Interface = PLAIN, learned: bool = False) -> list[Hashable]:
    """The key of a request, as a decoder makes it that has or has not seen its form before."""
    decoder = RequestDecoder(RejectionCounter())
    if learned:
        bound(decoder, interface, [request])
    (made,) = bound(decoder, interface, [request])
    return made.keys()


def texts(a: Sequence[str], b: Sequence[str]) -> PredictRequest:
    return PredictRequest(
        model="m",
        columns=[Column(name="a", strings=StringList(values=a)), Column(name="b", strings=StringList(values=b))],
    )


SIX: Array = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize("learned", [False, True], ids=["read by the generated code", "read by a template"])
@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param(ask("m", x=SIX.reshape(2, 3)), ask("m", x=SIX.reshape(2, 3)), True, id="equal requests"),
        pytest.param(ask("m", x=SIX.reshape(2, 3)), ask("m", x=SIX.reshape(3, 2)), False, id="another shape"),
        pytest.param(ask("m", x=SIX.reshape(2, 3)), ask("m", x=SIX.reshape(2, 3) + 1), False, id="other numbers"),
        pytest.param(
            ask("m", x=np.zeros((1, 1), np.float32)),
            ask("m", x=-np.zeros((1, 1), np.float32)),
            False,
            id="0.0 and -0.0",
        ),
        pytest.param(
            ask("m", x=np.full((1, 1), np.nan, np.float32)),
            ask("m", x=np.full((1, 1), np.nan, np.float32)),
            True,
            id="NaN equals itself, being the same bytes",
        ),
        pytest.param(
            ask("m", x=SIX.reshape(2, 3)), ask("m", x=SIX.reshape(2, 3), outputs=["y"]), False, id="other outputs"
        ),
        pytest.param(
            ask("m", x=SIX.reshape(2, 3), outputs=["y", "z"]),
            ask("m", x=SIX.reshape(2, 3), outputs=["z", "y"]),
            False,
            id="outputs in another order",
        ),
    ],
)
def test_keys_are_equal_if_and_only_if_the_requests_are(
    one: PredictRequest, other: PredictRequest, equal: bool, learned: bool
) -> None:
    assert (keys(one, learned=learned) == keys(other, learned=learned)) is equal


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param(texts(["a", "b"], ["c", "d"]), texts(["a", "b"], ["c", "d"]), True, id="equal columns"),
        pytest.param(texts(["a", "b"], ["c", "d"]), texts(["c", "d"], ["a", "b"]), False, id="columns exchanged"),
        pytest.param(texts(["ab"], ["c"]), texts(["a"], ["bc"]), False, id="the same letters, cut elsewhere"),
        pytest.param(texts(["a\0b"], [""]), texts(["a"], ["b"]), False, id="a zero byte separates nothing"),
    ],
)
def test_keys_of_strings(one: PredictRequest, other: PredictRequest, equal: bool) -> None:
    assert (keys(one, interface=COLUMNS) == keys(other, interface=COLUMNS)) is equal


def test_a_request_has_one_key_however_it_was_read() -> None:
    plain, named = ask("m", x=SIX.reshape(2, 3)), ask("m", request_id="7", x=SIX.reshape(2, 3))
    assert keys(plain, learned=True) == keys(plain) == keys(named)


# --- Memory ----------------------------------------------------------------------------------------------------------

WIDE = Interface(
    "m",
    1,
    tuple(TensorSpec(name=f"t{place}", dtype="float32", shape=(None, 1)) for place in range(5)),
    (),
    (OutputSpec(name="y", dtype="float32", shape=(None, 1)),),
)


def row(number: int) -> PredictRequest:
    return ask("m", x=np.array([[number, 0.5]], np.float32))


def named_row(number: int) -> PredictRequest:
    return ask("m", request_id="r", x=np.array([[number, 0.5]], np.float32))


def tensors(number: int) -> PredictRequest:
    return ask("m", "r", (), **{f"t{place}": np.array([[number + place]], np.float32) for place in range(5)})


def words(number: int) -> PredictRequest:
    return texts([f"N{number}"], ["JFK"])


def foreign_words(number: int) -> PredictRequest:
    return texts([f"Ж{number}"], ["東京"])


@pytest.mark.parametrize(
    ("request_of", "interface", "entries"),
    [
        pytest.param(row, PLAIN, 10_000, id="numbers"),
        pytest.param(named_row, PLAIN, 2_000, id="numbers that no template reads"),
        pytest.param(tensors, WIDE, 2_000, id="several tensors"),
        pytest.param(words, COLUMNS, 2_000, id="strings"),
        pytest.param(foreign_words, COLUMNS, 2_000, id="strings of two bytes a character"),
    ],
)
def test_the_accounted_size_is_what_entries_take_and_at_most_twice_that(
    request_of: Callable[[int], PredictRequest], interface: Interface, entries: int
) -> None:
    """Small entries, where Python's own objects weigh most."""
    payloads = [request_of(number).SerializeToString() for number in range(entries)]
    decoder, sink = RequestDecoder(RejectionCounter()), Nobody()
    cache = ReplyCache(2**30, TTL_S)

    def fill(start: int, stop: int) -> None:
        for number in range(start, stop):
            for each in decoder.decode([Call(number, sink)], payloads[number : number + 1], sink):
                made, _ = each.bind(interface)
                assert made is not None
                cache.store(made.keys()[0], made.key_bytes(), b"reply %5d " % number + bytes(40), 0.0 + number)

    fill(0, 100)  # what is made once is not the entries'
    gc.collect()
    tracemalloc.start()
    try:
        before, used = tracemalloc.get_traced_memory()[0], cache.used_bytes
        fill(100, entries)
        gc.collect()
        taken, accounted = tracemalloc.get_traced_memory()[0] - before, cache.used_bytes - used
    finally:
        tracemalloc.stop()
    assert taken <= accounted <= 2 * taken, f"{taken / entries:.0f} bytes an entry, accounted {accounted / entries:.0f}"
