"""Records what happens to sampled calls on the request path. Knows nothing of OpenTelemetry.

Without tracing it costs nothing: method handlers are not wrapped, and the engine has no observer. With tracing, calls
that are not sampled cost a comparison for each list of them, and reading each call's `trace`. Everything else is done
only if sampled calls are in flight.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final, Protocol

from skylane.server.core.batch_task import Answerer, BatchTask, RequestGroup
from skylane.server.core.errors import CallCancelled, ServingError
from skylane.server.core.types import Call, Interface, Sink
from skylane.server.engine.batching import Batch
from skylane.server.observability.tracing import context
from skylane.server.observability.tracing.context import UNSAMPLED, Chance, Fields, Parent, Roots
from skylane.server.observability.tracing.records import Ids, TracedBatch, TracedHttp, TracedRequest

OPEN_MAX: Final = 10_000
"""Calls recorded at a time; further ones are not."""


class Records(Protocol):
    """Takes complete records. Must be quick, and never raise."""

    def put(self, record: TracedRequest | TracedBatch) -> None:
        """Make spans of it later."""

    def lost(self, spans: int) -> None:
        """Count spans that will not be made."""


class Tracer:
    """Samples calls and records them until their replies. Thread-safe. An Observer of the engine."""

    def __init__(
        self,
        records: Records,
        ratio: float,
        clock: Callable[[], float],
        chance: Chance,
        codes: Mapping[str, int],
    ) -> None:
        """`ratio`: of the calls without a parent. `clock`: the engine's. `codes`: name of an error's class → gRPC's
        status."""
        self._records, self._clock, self._chance, self._codes = records, clock, chance, codes
        self._roots, self._lock = Roots(ratio, chance), Lock()
        self._open: set[TracedRequest] = set()

    # --- From the transports ----------------------------------------------------------------------------------------

    def trace_of(self, metadata: Fields) -> Parent | None:
        """The value for a call's `trace` when it arrives."""
        return context.parent_of(metadata)

    def arrive(self, calls: Sequence[Call], rpc: str, sink: Sink) -> Sink:
        """Calls of one method that arrived together. Returns the sink that takes their replies."""
        with self._lock:
            roots = self._roots.choose(len(calls))
        with_parent = [call for call in calls if call.trace is not None]
        if not with_parent and not roots:
            return sink
        chosen: list[tuple[Call, Parent | None]] = [(call, call.trace) for call in with_parent if call.trace.sampled]
        chosen += [(calls[place], None) for place in roots if calls[place].trace is None]
        for call in with_parent:
            call.trace = None
        if not chosen:
            return sink
        began_at, traced = self._clock(), TracedSink(sink, self)
        for call, parent in chosen:
            call.trace = self._begin(parent, rpc, began_at)
        for call in calls:  # those of one list are answered together, through the sink of the first
            call.sink = traced
        return traced

    def arrive_by_http(self, metadata: Fields, http: TracedHttp) -> TracedRequest | None:
        """A request has arrived over HTTP. Returns its record if it is sampled; `end_http` must end it."""
        parent = context.parent_of(metadata)
        if parent is None:
            with self._lock:
                chosen = bool(self._roots.choose(1))
        else:
            chosen = parent is not UNSAMPLED
        return self._begin(parent, "", self._clock(), http) if chosen else None

    def join(self, call: Call, record: TracedRequest) -> None:
        """Attach the record of an HTTP request to its call."""
        call.trace, call.sink = record, TracedSink(call.sink, self)

    def end_http(self, record: TracedRequest, status: int) -> None:
        """The response was sent with this status, or, if it is 0, will never be."""
        record.status = status
        self._end(record, self._clock())

    # --- From the engine: see skylane.server.engine.observer ----------------------------------------------------------

    def submitted(self, groups: Iterable[RequestGroup]) -> None:
        """Groups that are submitted to the engine now."""
        for group in groups:
            for record in self._among(group.calls):
                record.model, record.version = group.route.model, group.route.version or 0

    def bound(self, interface: Interface, task: BatchTask) -> None:
        if self._open and (records := self._among(task.calls)):
            now = self._clock()
            for record in records:
                record.model, record.version, record.rows = interface.model, interface.version, task.rows_each
                record.bound_at = now

    def ran(self, interface: Interface, batch: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        if not self._open or not (records := [each for task in batch.tasks for each in self._among(task.calls)]):
            return
        calls = sum(len(task.calls) for task in batch.tasks)
        ids = Ids(self._chance.getrandbits(128) or 1, self._span_id())
        traced_batch = TracedBatch(
            ids, interface.model, interface.version, batch.rows, calls, began_at, gathered_at, ran_at, self._clock()
        )
        for record in records:
            record.batch = traced_batch
            traced_batch.members.append(record.ids)
        self._records.put(traced_batch)

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        if not self._open:
            return
        for leader, following in zip(leaders, followers, strict=True):
            for record in self._among(following):
                record.coalesced = True
                record.followed = leader.trace and leader.trace.ids

    # --- The end ----------------------------------------------------------------------------------------------------

    def answered(self, calls: Sequence[Call], error: ServingError | None = None) -> None:
        """Calls that were answered, or refused with this error."""
        now = self._clock()
        for call in calls:
            record: TracedRequest | None = call.trace
            if record is None or record.ended_at:
                continue
            record.protocol, record.request_id = call.protocol, call.request_id
            record.refused = type(error).__name__ if error else ""
            if record.http is None:
                record.status = self._codes[record.refused or CallCancelled.__name__] if error or call.cancelled else 0
                self._end(record, now)

    @property
    def open(self) -> int:
        """Calls that are recorded and not yet answered."""
        return len(self._open)

    def _begin(
        self, parent: Parent | None, rpc: str, began_at: float, http: TracedHttp | None = None
    ) -> TracedRequest | None:
        if len(self._open) >= OPEN_MAX:
            self._records.lost(1)
            return None
        trace_id = self._roots.trace_id() if parent is None else parent.trace_id
        record = TracedRequest(Ids(trace_id, self._span_id()), parent, rpc, began_at, http)
        self._open.add(record)
        return record

    def _end(self, record: TracedRequest, now: float) -> None:
        if record in self._open:  # not yet ended
            self._open.discard(record)
            record.ended_at = now
            self._records.put(record)

    def _span_id(self) -> int:
        return self._chance.getrandbits(64) or 1

    @staticmethod
    def _among(calls: Sequence[Call]) -> list[TracedRequest]:
        """Records of these calls. Over HTTP a caller may have gone before the engine was done."""
        return [call.trace for call in calls if call.trace is not None and not call.trace.ended_at]


class TracedSink:
    """A sink that reports to the tracer the calls whose replies it passes on."""

    def __init__(self, sink: Sink, tracer: Tracer) -> None:
        self._sink, self._tracer = sink, tracer

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        self._sink.answer(calls, replies, ids)
        self._tracer.answered(calls)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._sink.refuse(calls, error)
        self._tracer.answered(calls, error)


class TracedEngine:
    """The engine, with a report to the tracer of the groups that are submitted."""

    def __init__(self, engine: Answerer, tracer: Tracer) -> None:
        self._engine, self._tracer = engine, tracer

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        if self._tracer.open:
            groups = list(groups)
            self._tracer.submitted(groups)
        self._engine.submit(groups)
