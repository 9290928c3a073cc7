"""Figures of several processes become one, whoever adds them and in whatever order; gauges end with their process."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.observability.snapshot import (
    EVENTS_MAX,
    Event,
    HistogramSnapshot,
    JournalSnapshot,
    LoadSnapshot,
    Outcome,
    PolicySnapshot,
    PortSnapshot,
    ProcessSnapshot,
    ReceiptSnapshot,
    SizeSnapshot,
    Snapshot,
    SpanSnapshot,
    VersionSnapshot,
    merge,
)

counts = st.integers(0, 1000)
seconds = st.integers(0, 1000).map(float)  # whole numbers, so that any order of adding gives the same bits
histograms = st.builds(HistogramSnapshot, st.lists(counts, min_size=3, max_size=3), seconds)
outcomes = st.lists(
    st.builds(Outcome, st.sampled_from(["a", "b"]), st.sampled_from(["", "Overloaded"]), counts), max_size=4
)
versions = st.builds(
    VersionSnapshot, model=st.sampled_from(["m", "n"]), version=st.integers(1, 2), outcomes=outcomes, total=histograms,
    queue=histograms, run=histograms, batch_rows=histograms, hits=counts, misses=counts, coalesced=counts,
    queue_rows=counts, cache_bytes=counts, memory_bytes=counts, gather_s=seconds, last_at=seconds,
    sizes=st.lists(st.builds(SizeSnapshot, st.integers(1, 3), counts, seconds, seconds, seconds), max_size=2),
    states=st.dictionaries(st.sampled_from(["ready", "failed"]), st.integers(1, 3)),
    reason=st.sampled_from(["", "why", "so"]),
)  # fmt: skip
figures = st.builds(
    Snapshot,
    versions=st.lists(versions, max_size=3),
    rejections=outcomes,
    loads=st.lists(st.builds(LoadSnapshot, st.sampled_from(["m", "n"]), counts, seconds, counts), max_size=2),
    policies=st.lists(st.builds(PolicySnapshot, st.sampled_from(["m", "n"]), counts, counts), max_size=2),
    ports=st.lists(st.builds(PortSnapshot, st.sampled_from(["grpc", "http"]), counts, counts), max_size=2),
    spans=st.builds(SpanSnapshot, counts, counts),
    journals=st.lists(
        st.builds(
            JournalSnapshot,
            st.sampled_from(["m", "n"]),
            st.dictionaries(st.sampled_from(["kept", "disk"]), counts),
            counts,
            counts,
        ),
        max_size=2,
    ),
    receipts=st.lists(
        st.builds(
            ReceiptSnapshot,
            st.sampled_from(["m", "n"]),
            st.dictionaries(st.sampled_from(["accepted", "refused"]), counts),
        ),
        max_size=2,
    ),
    processes=st.lists(st.builds(ProcessSnapshot, st.integers(1, 9), seconds, counts, seconds), max_size=1),
    events=st.lists(st.builds(Event, seconds, counts, st.just("INFO"), st.text()), max_size=3),
)


def as_bytes(told: Snapshot) -> bytes:
    return msgspec.json.encode(told)


@given(st.lists(figures, max_size=4), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_nothing_given_is_changed(parts: list[Snapshot], chance: object) -> None:
    before = list(map(as_bytes, parts))
    whole = merge(parts)
    assert list(map(as_bytes, parts)) == before
    sizes = [size for part in parts for version in part.versions for size in version.sizes]
    assert sum(size.executions for version in whole.versions for size in version.sizes) == sum(
        size.executions for size in sizes
    )
    assert sum(version.hits for version in whole.versions) == sum(each.hits for part in parts for each in part.versions)
    backwards = merge(reversed(parts))
    for name in ("versions", "rejections", "loads", "policies", "ports", "spans", "journals", "receipts", "events"):
        assert getattr(whole, name) == getattr(backwards, name)


@given(figures, figures, figures)
def test_parts_may_be_added_up_before(one: Snapshot, two: Snapshot, three: Snapshot) -> None:
    before, all_at_once = merge([merge([one, two]), three]), merge([one, two, three])
    for name in ("versions", "policies", "ports", "spans", "journals", "receipts"):
        assert getattr(before, name) == getattr(all_at_once, name)


@given(figures)
def test_what_has_ended_keeps_its_counters_alone(told: Snapshot) -> None:
    whole, left = merge([told]), merge([told.counters()])
    assert (left.processes, left.policies) == ([], [])
    assert [(each.port, each.open, each.refused) for each in left.ports] == [
        (each.port, 0, each.refused) for each in whole.ports
    ]
    assert (left.spans, left.receipts) == (whole.spans, whole.receipts)
    assert not any(v.queue_rows or v.cache_bytes or v.memory_bytes or v.states for v in left.versions)
    assert [(version.hits, version.outcomes, version.total) for version in left.versions] == [
        (version.hits, version.outcomes, version.total) for version in whole.versions
    ]


@given(figures)
def test_they_travel_as_bytes(told: Snapshot) -> None:
    assert msgspec.json.decode(as_bytes(told), type=Snapshot) == told


def test_the_latest_events_are_kept() -> None:
    many = [Event(float(at), 1, "INFO", "") for at in range(2 * EVENTS_MAX)]
    assert merge([Snapshot(events=many[::2]), Snapshot(events=many[1::2])]).events == many[-EVENTS_MAX:]
