"""The request path: takes calls from the transports, runs them in batches and sends the replies.

A thread that submits calls to a served version with a free instance runs them, itself if the run is predicted to be
cheap and on a worker thread otherwise, and continues until the version's queue is empty. If no instance is free, it
leaves the calls in the queue. So calls that arrive while a batch runs form the next batch, no call waits while an
instance is free, and a cheap batch never changes threads. The reasons are in docs/adr/0002-batch-from-the-socket.md.

The engine depends on no protocol, on no ONNX Runtime and on no files. Time and threads are injected (`clock`,
`Workers`), so a test can simulate all of it deterministically from one seed.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Protocol

from skylane.server.core import request_ids
from skylane.server.core.batch_task import BatchTask, RequestGroup
from skylane.server.core.errors import (
    CallCancelled,
    DeadlineExpired,
    ModelFailed,
    ServingError,
    ShuttingDown,
)
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call, Sink
from skylane.server.engine import assembly
from skylane.server.engine.admission import Refusal
from skylane.server.engine.batching import Batch
from skylane.server.engine.observer import Observer
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import FAILURE_LOG_INTERVAL_S, ServedVersion

log = logging.getLogger(__name__)

INLINE_S_MAX = 200e-6
"""A run predicted to be shorter stays on the submitting thread: switching to a worker and back costs 50-100 µs."""


class Workers(Protocol):
    """Threads for work that must not block the receiving thread, and a timer."""

    def run(self, work: Callable[[], None]) -> None:
        """Do the work on another thread, soon."""

    def call_at(self, due_at: float, work: Callable[[], None]) -> None:
        """Do the work at this instant of the engine's clock, or a little later."""


class Engine:
    """Takes calls from every transport and answers them. Thread-safe."""

    def __init__(
        self,
        workers: Workers,
        clock: Callable[[], float],
        rejections: RejectionCounter,
        inline_s_max: float = INLINE_S_MAX,
        observer: Observer | None = None,
    ) -> None:
        """`rejections` counts the calls that reach no model."""
        self._workers, self._clock, self._inline_s_max = workers, clock, inline_s_max
        self._observer = observer
        self._routes = Routes()
        self._served_versions: frozenset[ServedVersion] = frozenset()
        self._versions_lock = Lock()
        self._stopping = False
        self._rejections = rejections

    # --- The request path -------------------------------------------------------------------------------------------

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        """Answer these calls: cheap ones before this returns, others later. Errors become replies; none is raised."""
        touched: dict[ServedVersion, None] = {}
        for group in groups:
            try:
                touched[self._enqueue(group)] = None
            except ServingError as error:
                if isinstance(error, ModelNotFound | ShuttingDown | StillLoading):  # others are in the version's counts
                    self._rejections.add(group.calls[0].protocol, type(error).__name__, len(group.calls))
                group.sink.refuse(group.calls, error)
            except Exception:  # an internal error must not affect the other groups
                log.exception("internal error on a request for %s", group.route)
                self._rejections.add(group.calls[0].protocol, ModelFailed.__name__, len(group.calls))
                group.sink.refuse(group.calls, ModelFailed("internal error; details are in the server's log"))
        for served_version in touched:
            self._drive(served_version, self._inline_s_max)

    def _enqueue(self, group: RequestGroup) -> ServedVersion:
        """Resolve the route, check the inputs, answer the cached calls, and queue the rest."""
        while True:
            if self._stopping:
                raise ShuttingDown("the server is shutting down and takes no new requests")
            served_version = self._routes.served_version(group.route)
            task, rejected = _bind(served_version, group)
            if task is None or self._admit(served_version, task):
                if rejected:
                    _reject(served_version, group.sink, rejected)
                return served_version

    def _admit(self, served_version: ServedVersion, task: BatchTask) -> bool:
        """Answer what is cached, and queue the rest; False if this version no longer serves."""
        if self._observer is not None:
            self._observer.bound(served_version.model.interface, task)
        if task.rows_each == 0:
            _answer(task.calls, task.encode(served_version.model.empty))
            with served_version.lock:
                if served_version.retired:
                    continue  # the routes changed after we read them
                hits, refused = _admit_to(served_version, task, now)
            if hits:
                _answer([call for call, _ in hits], [reply for _, reply in hits])
                ended_at = self._clock()
                with served_version.lock:
                    served_version.counts.hit(len(hits), ended_at - now, ended_at, hits[0][0].protocol)
            for calls, error in refused:
                _refuse(served_version, calls, error)
            return served_version

    def _drive(self, served_version: ServedVersion, inline_s_max: float) -> None:
        """Run due batches while an instance is free: on this thread if predicted to take at most `inline_s_max`, else
        on a worker."""
        # Rows are read without the lock: a thread that adds rows later sees our instance free and calls this itself.
        while served_version.queue.rows:
            now = self._clock()
            with served_version.lock:
                batch = served_version.queue.take(now) if served_version.free else Batch()
                gone = _with_followers(served_version, batch.gone)
                if batch.tasks:
                    served_version.free -= 1
                else:
                    self._set_alarm(served_version, now)
            for call in gone:
                _refuse(served_version, [call], _why_gone(call, now))
            if not batch.tasks:
                return
            rows = batch.rows
            if inline_s_max < math.inf and served_version.model.cost.seconds(rows) > inline_s_max:
                self._workers.run(partial(self._work, served_version, batch, rows))
            else:
                self._run_and_free(served_version, batch, rows)

    def _work(self, served_version: ServedVersion, batch: Batch, rows: int) -> None:
        """On a worker: run this batch, then the batches that have become due meanwhile."""
        self._run_and_free(served_version, batch, rows)
        self._drive(served_version, math.inf)

    def _run_and_free(self, served_version: ServedVersion, batch: Batch, rows: int) -> None:
        seconds = None
        try:
            seconds = self._run(served_version, batch)
        finally:
            with served_version.lock:
                served_version.ran(rows, seconds)
            if served_version.retired and served_version.idle:
                self._forget(served_version)

    def _run(self, served_version: ServedVersion, batch: Batch) -> float | None:
        """Run one batch and answer its calls; returns the seconds it took, or None if the run failed."""
        clock, tasks = self._clock, batch.tasks
        began_at = clock()
        try:
            arrays = assembly.gather(tasks)
            gathered_at = clock()
            outputs = served_version.model.runner.run(arrays)
            ran_at = clock()
            encoded = [(task, task.encode(part)) for task, part in assembly.scatter(tasks, outputs)]
        except Exception as error:  # the runtime may raise anything for rows that it cannot process
            self._run_in_halves(served_version, batch, error)
            return None
        if self._observer is not None:
            self._observer.ran(served_version.model.interface, batch, began_at, gathered_at, ran_at)
        for task, replies in encoded:
            _answer(task.calls, replies)
            if served_version.cache is not None:
                self._cache(served_version, task, replies)
        ended_at = clock()
        rows = batch.rows
        with served_version.lock:
            for arrived_at, task in zip(batch.arrivals, tasks, strict=True):
                calls = task.calls
                served_version.counts.answered(
                    arrived_at, len(calls), calls[0].protocol, rows, began_at, gathered_at, ran_at, ended_at
                )
                rows = 0
        return ended_at - began_at

    def _run_in_halves(self, served_version: ServedVersion, batch: Batch, error: Exception) -> None:
        """Halve a batch that failed until the failing calls are alone, so that the others get answers."""
        calls = [call for task in batch.tasks for call in task.calls]
        if len(calls) > 1:
            for half in batch.halves():
                self._run(served_version, half)
            return
        with served_version.lock:
            calls, should_log = _with_followers(served_version, calls), served_version.failed(self._clock())
        if should_log:
            call, text = calls[0], "%s failed on a request (logged at most once in %g s)"
            if not call.request_id and not call.tail:  # an id that links the log line to the caller's error
                call.request_id = request_ids.made()
            extra = {"request_id": call.request_id, "call_tail": call.tail}
            log.error(text, served_version, FAILURE_LOG_INTERVAL_S, exc_info=error, extra=extra)
        _refuse(served_version, calls, ModelFailed(f"the model failed on these rows: {error}"))

    def _cache(self, served_version: ServedVersion, task: BatchTask, replies: Sequence[bytes]) -> None:
        """Cache the replies for equal requests that come later, and answer the calls that already follow these."""
        assert served_version.cache is not None
        now, key_bytes = self._clock(), task.key_bytes()
        marked = [task.mark_cached(reply) for reply in replies]
        with served_version.lock:
            for call, reply in zip(task.calls, marked, strict=True):
                if call.key is not None:  # None: it ran for itself beside an equal one
                    served_version.cache.store(call.key, key_bytes, reply, now)
            following = [served_version.cache.settle(call) for call in task.calls]
            served_version.counts.followed(sum(map(len, following)), task.protocol)
        if self._observer is not None:
            self._observer.followed(task.calls, following)
        for followers, reply in zip(following, marked, strict=True):
            for follower in followers:
                _answer([follower], [reply])

    # --- Queue delay ------------------------------------------------------------------------------------------------

    def _set_alarm(self, served_version: ServedVersion, now: float) -> None:
        """With the version's lock held: set a timer for when the oldest call has waited for the queue delay."""
        due_at = served_version.queue.due_at() if served_version.free else None
        if (
            due_at is not None
            and due_at > now
            and (served_version.alarm_at is None or served_version.alarm_at > due_at)
        ):
            served_version.alarm_at = due_at
            self._workers.call_at(due_at, partial(self._on_alarm, served_version))

    def _on_alarm(self, served_version: ServedVersion) -> None:
        with served_version.lock:
            served_version.alarm_at = None
        self._drive(served_version, self._inline_s_max)

    # --- Life cycle -------------------------------------------------------------------------------------------------

    def serve(self, routes: Routes) -> None:
        """Use these routes from now on. Versions no longer in them take no new calls and finish their queue."""
        served_versions = {
            served_version for model in routes.models.values() for served_version in model.versions.values()
        }
        with self._versions_lock:
            retiring = self._served_versions - served_versions
            self._served_versions |= served_versions
        self._routes = routes
        for served_version in retiring:
            with served_version.lock:
                served_version.retired = True
            if served_version.idle:  # retired and idle, it stays idle
                self._forget(served_version)

    def _forget(self, served_version: ServedVersion) -> None:
        """Drop the reference to a retired version, so that its model is freed."""
        with self._versions_lock:
            self._served_versions -= {served_version}

    def stop(self) -> None:
        """Refuse new calls. Those already accepted are answered; `idle` becomes true after the last one."""
        self._stopping = True

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return all(served_version.idle for served_version in self._served_versions)


def _bind(served_version: ServedVersion, group: RequestGroup) -> BatchTask:
    """Check the inputs against the version's model. Raises InputMismatch or TooManyRows."""
    requested, protocol = len(group.calls), group.calls[0].protocol
    try:
        task, rejected = group.bind(served_version.model.interface)
    except ServingError as error:
        with served_version.lock:
            served_version.counts.failed(error, requested, protocol)
        raise
    if len(group.calls) < requested:  # bind has already refused the calls with invalid values
        with served_version.lock:
            served_version.counts.failed(InputMismatch(""), requested - len(group.calls), protocol)
    return task


def _admit_to(
    served_version: ServedVersion, task: BatchTask, now: float
) -> tuple[list[tuple[Call, bytes]], list[Refusal]]:
    """With the version's lock held: queue what must run. Returns the calls with cached replies and the refused ones."""
    hits: list[tuple[Call, bytes]] = []
    if served_version.cache is not None:
        hits, task = served_version.cache.look_up(task, now)
    task, refused = served_version.admission.admit(task, served_version.queue.rows, now)
    if task.calls:
        served_version.queue.add(task, now)
    return hits, [(_with_followers(served_version, calls), error) for calls, error in refused]


def _with_followers(served_version: ServedVersion, calls: Sequence[Call]) -> list[Call]:
    """With the version's lock held: these calls and their followers. No call can follow them any more."""
    if served_version.cache is None:
        return list(calls)
    return [each for call in calls for each in (call, *served_version.cache.settle(call))]


def _why_gone(call: Call, now: float) -> ServingError:
    if now >= call.deadline:
        return DeadlineExpired("the deadline passed before the model ran; it did not run")
    return CallCancelled("the caller cancelled before the model ran; it did not run")


def _refuse(served_version: ServedVersion, calls: Sequence[Call], error: ServingError) -> None:
    """Send calls an error: one message for all calls of a sink, since most calls are refused under overload."""
    together: dict[tuple[Sink, str], list[Call]] = {}
    for call in calls:
        together.setdefault((call.sink, call.protocol), []).append(call)
    with served_version.lock:
        for (_, protocol), group in together.items():
            served_version.counts.failed(error, len(group), protocol)
    for (sink, _), group in together.items():
        sink.refuse(group, error)


def _answer(calls: Sequence[Call], replies: Sequence[bytes]) -> None:
    """Send each call its reply with its own tail. All calls of a task came from one transport."""
    calls[0].sink.answer(calls, [reply + call.tail for call, reply in zip(calls, replies, strict=True)])
