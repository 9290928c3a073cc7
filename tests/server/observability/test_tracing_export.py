"""What waits to be sent has a bound, what is lost is counted, and the end waits no longer than it must."""

import logging
import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from skylane.server.core.errors import DeadlineExpired, ServingError
from skylane.server.core.types import Call
from skylane.server.observability.tracing import tracer as tracers
from skylane.server.observability.tracing.context import Parent
from skylane.server.observability.tracing.encoding import Encoding
from skylane.server.observability.tracing.export import Exporting
from skylane.server.observability.tracing.records import Ids, TracedBatch, TracedHttp, TracedRequest
from skylane.server.observability.tracing.spans import SERVER_FAULTS, Span, Spans
from skylane.server.observability.tracing.tracer import Tracer

SPANS = Spans(lambda: 0, lambda: 7)


class Collector:
    """A collector that accepts spans when allowed, and answers as configured."""

    def __init__(self, result: SpanExportResult | None = SpanExportResult.SUCCESS) -> None:
        """`result`: None raises."""
        self.opened, self.entered, self._result = threading.Event(), threading.Semaphore(0), result
        self.sizes: list[int] = []

    def export(self, spans: Sequence[Span]) -> SpanExportResult:
        """See Exporter."""
        self.sizes.append(len(spans))
        self.entered.release()
        assert self.opened.wait(30)
        if self._result is None:
            raise OSError("no route")
        return self._result

    def shutdown(self) -> None:
        """See Exporter."""
        self.opened.set()


def request(**more: object) -> TracedRequest:
    """One that was refused before it was bound: a single span."""
    made = TracedRequest(Ids(1, 2), None, "/a.B/C", 1.0, ended_at=2.0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty spans may wait, four are sent together, and nothing is sent before there are four."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")


@pytest.mark.usefixtures("bounds")
def test_beyond_the_bound_spans_are_lost_and_counted() -> None:
    collector = Collector()
    exporting = Exporting(collector, SPANS.of)
    for _ in range(4):
        exporting.put(request())
    assert collector.entered.acquire(timeout=30)  # the thread is with the collector, which does not go on
    for _ in range(25):
        exporting.put(request())
    exporting.lost(2)
    assert exporting.dropped == 5 + 2
    collector.opened.set()
    exporting.close()
    assert (exporting.sent, exporting.dropped) == (24, 7)
    assert sum(collector.sizes) == 24
    assert max(collector.sizes) == 4


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None], ids=["it says no", "it raises"])
def test_what_the_collector_does_not_take_is_lost(
    result: SpanExportResult | None, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(result)
    collector.opened.set()
    exporting = Exporting(collector, SPANS.of)
    for _ in range(9):
        exporting.put(request())
    with caplog.at_level(logging.INFO, "skylane.server"):
        exporting.close()
    assert (exporting.sent, exporting.dropped) == (0, 9)
    assert "traces: 0 spans sent, 9 lost" in caplog.text


@pytest.mark.usefixtures("bounds")
def test_the_end_does_not_wait_for_a_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylane.server.observability.tracing.export.FLUSH_S", 0.05)
    collector = Collector()
    exporting = Exporting(collector, SPANS.of)
    for _ in range(8):
        exporting.put(request())
    assert collector.entered.acquire(timeout=30)
    exporting.close()  # the collector hangs until it is shut down
    assert exporting.sent + exporting.dropped <= 8


BATCH = TracedBatch(Ids(3, 4), "m", 1, 2, 1, 1.2, 1.3, 1.4, 1.5, [Ids(1, 2)])
REQUESTS = st.builds(
    TracedRequest,
    ids=st.just(Ids(1, 2)),
    parent=st.sampled_from([None, Parent(1, 9, True), Parent(1, 9, True, "a=b")]),
    rpc=st.just("/a.B/C"),
    began_at=st.just(1.0),
    http=st.sampled_from([None, TracedHttp("POST", "/x", "/{x}", "http")]),
    bound_at=st.sampled_from([0.0, 1.1]),
    batch=st.none(),
    followed=st.sampled_from([None, Ids(1, 5)]),
    coalesced=st.booleans(),
    refused=st.sampled_from(["", "Overloaded"]),
    status=st.integers(0, 599),
    ended_at=st.just(2.0),
)


@given(REQUESTS, st.booleans())
def test_a_record_says_how_many_spans_it_is_and_they_are_one_family(record: TracedRequest, ran: bool) -> None:
    if ran and record.bound_at:
        record.batch = BATCH
    made = SPANS.of(record)
    assert len(made) == record.spans
    top, *parts = made
    assert all((part.parent_id, part.ids.trace_id) == (top.ids.span_id, 1) for part in parts)
    assert all(1_000_000_000 <= part.begins_ns <= part.ends_ns <= 2_000_000_000 for part in made)
    assert top.parent_id == (record.parent.span_id if record.parent else 0)
    is_fault = record.status >= 500 if record.http else record.status in SERVER_FAULTS
    assert top.is_fault == is_fault == ("error.type" in top.attributes)


def test_a_batch_is_one_span() -> None:
    (made,) = SPANS.of(BATCH)
    assert BATCH.spans == 1
    assert made.links == ((1, 2),)
    assert (made.begins_ns, made.ends_ns) == (1_200_000_000, 1_500_000_000)


IDS = st.builds(Ids, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))


@given(
    st.lists(
        st.builds(
            Span,
            name=st.text(max_size=300),
            ids=IDS,
            parent_id=st.integers(0, 2**64 - 1),
            begins_ns=st.integers(0, 2**64 - 1),
            ends_ns=st.integers(0, 2**64 - 1),
            attributes=st.dictionaries(st.text(min_size=1), st.text() | st.integers(-(2**63), 2**63 - 1), max_size=9),
            links=st.lists(IDS, max_size=3).map(tuple),
            state=st.sampled_from(["", "a=b", "a=b,c@d=e"]),
            is_server=st.booleans(),
            is_fault=st.booleans(),
            parent_is_remote=st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_our_messages_are_those_of_the_exporter(spans: list[Span]) -> None:
    spans = [span._replace(parent_is_remote=span.parent_is_remote and span.parent_id > 0) for span in spans]
    encoding = Encoding(Resource({"service.name": "x", "process.pid": 7}), "1")
    assert encoding.request(spans) == encode_spans([encoding.readable(span) for span in spans])


class Kept:
    """Records as they come."""

    def __init__(self) -> None:
        self.records: list[TracedRequest | TracedBatch] = []
        self.losses = 0

    def put(self, record: TracedRequest | TracedBatch) -> None:
        """See Records."""
        self.records.append(record)

    def lost(self, spans: int) -> None:
        """See Records."""
        self.losses += spans


class Anybody:
    """A sink that takes everything."""

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        """See Sink."""

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See Sink."""


def tracer(kept: Kept, ratio: float = 1.0) -> Tracer:
    return Tracer(kept, ratio, lambda: 1.0, random.Random(1), {"DeadlineExpired": 4, "CallCancelled": 1})


def test_calls_recorded_at_a_time_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracers, "OPEN_MAX", 3)
    kept, sink = Kept(), Anybody()
    traced = tracer(kept)
    calls = [Call(place, sink) for place in range(5)]
    following = traced.arrive(calls, "/a.B/C", sink)
    assert (traced.open, kept.losses) == (3, 2)
    assert all(call.sink is following for call in calls)
    following.answer(calls[:4], [b""] * 4)
    following.refuse(calls[4:], DeadlineExpired(""))
    following.refuse(calls[:1], DeadlineExpired(""))  # who was answered is not answered again
    assert traced.open == 0
    assert [(record.status, record.refused) for record in kept.records if isinstance(record, TracedRequest)] == [
        (0, "")
    ] * 3


def test_a_caller_who_has_gone_is_told_of_as_such() -> None:
    kept, sink = Kept(), Anybody()
    traced, call = tracer(kept), Call(0, sink)
    following = traced.arrive([call], "/a.B/C", sink)
    call.cancelled = True
    following.answer([call], [b""])
    assert [record.status for record in kept.records if isinstance(record, TracedRequest)] == [1]


def test_calls_of_which_none_is_recorded_keep_their_sink() -> None:
    kept, sink = Kept(), Anybody()
    traced = tracer(kept, 0.0)
    calls = [Call(0, sink), Call(1, sink, trace=traced.trace_of([("traceparent", f"00-{'1' * 32}-{'2' * 16}-00")]))]
    assert traced.arrive(calls, "/a.B/C", sink) is sink
    assert [(call.sink, call.trace) for call in calls] == [(sink, None)] * 2
