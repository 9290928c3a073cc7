"""Notes what happens to the calls that are recorded, on the way of all calls; knows nothing of OpenTelemetry.

Costs nothing where no tracer is made: transports then have method handlers without it, and the engine no observer.
Where there
is one, calls that are not recorded cost a comparison for each list of them, and a look at each call's `trace` for its
parent. Everything else is done for recorded calls alone, or where there are any.
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
    """Where records go that are complete. Must be quick, and never raise."""

    def put(self, record: TracedRequest | TracedBatch) -> None:
        """Make spans of it, some time."""

    def lost(self, spans: int) -> None:
        """So many will never be."""


class Tracer:
    """Chooses calls and follows them to their answers. Thread-safe. An Observer, see skylane.server.engine.observer."""

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
        """What a call's `trace` must be when it arrives."""
        return context.parent_of(metadata)

    def arrive(self, calls: Sequence[Call], rpc: str, sink: Sink) -> Sink:
        """These calls of one method came together; gives who is to answer them."""
        with self._lock:
            roots = self._roots.choose(len(calls))
        told = [call for call in calls if call.trace is not None]
        if not told and not roots:
            return sink
        chosen: list[tuple[Call, Parent | None]] = [(call, call.trace) for call in told if call.trace.sampled]
        chosen += [(calls[place], None) for place in roots if calls[place].trace is None]
        for call in told:
            call.trace = None
        if not chosen:
            return sink
        began_at, following = self._clock(), PolicyTracker(sink, self)
        for call, parent in chosen:
            call.trace = self._begin(parent, rpc, began_at)
        for call in calls:  # those of one list are answered together, through the sink of the first
            call.sink = following
        return following

    def arrive_by_http(self, metadata: Fields, http: TracedHttp) -> TracedRequest | None:
        """A request came; its record if it is chosen, to be ended by `end_http`."""
        parent = context.parent_of(metadata)
        if parent is None:
            with self._lock:
                chosen = bool(self._roots.choose(1))
        else:
            chosen = parent is not UNSAMPLED
        return self._begin(parent, "", self._clock(), http) if chosen else None

    def join(self, call: Call, record: TracedRequest) -> None:
        """This call is what the request over HTTP asks of the engine."""
        call.trace, call.sink = record, PolicyTracker(call.sink, self)

    def end_http(self, record: TracedRequest, status: int) -> None:
        """The answer is out, or will never be: 0."""
        record.status = status
        self._end(record, self._clock())

    # --- From the engine: see skylane.server.engine.observer ----------------------------------------------------------

    def asked(self, groups: Iterable[RequestGroup]) -> None:
        """These go to the engine now."""
        for group in groups:
            for record in self._among(group.calls):
                record.model, record.version = group.route.model, group.route.version or 0

    def bound(self, interface: Interface, task: BatchTask) -> None:
        if self._open and (found := self._among(task.calls)):
            now = self._clock()
            for record in found:
                record.model, record.version, record.rows = interface.model, interface.version, task.rows_each
                record.bound_at = now

    def ran(self, interface: Interface, cut: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        if not self._open or not (found := [each for task in cut.tasks for each in self._among(task.calls)]):
            return
        calls = sum(len(task.calls) for task in cut.tasks)
        ids = Ids(self._chance.getrandbits(128) or 1, self._span_id())
        batch = TracedBatch(
            ids, interface.model, interface.version, cut.rows, calls, began_at, gathered_at, ran_at, self._clock()
        )
        for record in found:
            record.batch = batch
            batch.members.append(record.ids)
        self._records.put(batch)

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        if not self._open:
            return
        for leader, following in zip(leaders, followers, strict=True):
            for record in self._among(following):
                record.coalesced = True
                record.followed = leader.trace and leader.trace.ids

    # --- The end ----------------------------------------------------------------------------------------------------

    def answered(self, calls: Sequence[Call], error: ServingError | None = None) -> None:
        """These calls were answered, or refused with this."""
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
        if record in self._open:  # not twice
            self._open.discard(record)
            record.ended_at = now
            self._records.put(record)

    def _span_id(self) -> int:
        return self._chance.getrandbits(64) or 1

    @staticmethod
    def _among(calls: Sequence[Call]) -> list[TracedRequest]:
        """Records of these calls. Over HTTP a caller may have gone before the engine was done."""
        return [call.trace for call in calls if call.trace is not None and not call.trace.ended_at]


class PolicyTracker:
    """A sink that tells the tracer what it hands over."""

    def __init__(self, sink: Sink, tracer: Tracer) -> None:
        self._sink, self._tracer = sink, tracer

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        self._sink.answer(calls, replies, ids)
        self._tracer.answered(calls)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._sink.refuse(calls, error)
        self._tracer.answered(calls, error)


class FollowedEngine:
    """The engine, with a look at what it is asked."""

    def __init__(self, engine: Answerer, tracer: Tracer) -> None:
        self._engine, self._tracer = engine, tracer

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        if self._tracer.open:
            groups = list(groups)
            self._tracer.asked(groups)
        self._engine.submit(groups)
