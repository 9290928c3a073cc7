"""The request path: many calls in, many replies out.

A thread that brings work to a served version with a free instance runs it: on its own thread if the run is predicted
to be cheap, otherwise on a worker thread; and continues until the version's queue is empty. If no instance is free,
the work stays in the queue. So calls that arrive while a batch runs form the next batch, nothing waits while an
instance is free, and a cheap batch never changes threads. docs/adr/0002-batch-from-the-socket.md gives the reasons.

Knows no protocol, no ONNX Runtime and no files. Time and threads come from outside (`clock`, `Workers`), so a test can
run the whole of it from one seed.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from threading import Lock
from typing import Protocol

from skylane.server.core import request_ids
from skylane.server.core.batch_task import BatchTask, Bound, Rejection, RequestGroup
from skylane.server.core.errors import (
    INTERNAL_ERROR,
    CallCancelled,
    DeadlineExpired,
    ModelFailed,
    ServingError,
    ShuttingDown,
    TooManyRows,
)
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Sink
from skylane.server.engine import assembly, recorder
from skylane.server.engine.admission import Refusal
from skylane.server.engine.batching import Batch
from skylane.server.engine.observer import Observer
from skylane.server.engine.recorder import Run
from skylane.server.engine.reply_cache import Hit
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import FAILURE_LOG_INTERVAL_S, ServedVersion

log = logging.getLogger(__name__)

INLINE_S_MAX = 200e-6
"""A run predicted to be shorter stays on the thread that brought it: a thread hop and back costs 50-100 µs."""


class Workers(Protocol):
    """Threads for what must not hold up the thread that receives, and a clock that rings."""

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
        """`rejections`: counts calls that reach no model."""
        self._workers, self._clock, self._inline_s_max = workers, clock, inline_s_max
        self._observer = observer
        self._routes = Routes()
        self._served_versions: frozenset[ServedVersion] = frozenset()
        self._versions_lock = Lock()
        self._stopping = False
        self._rejections = rejections

    # --- The request path -------------------------------------------------------------------------------------------

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        """Answer these calls: cheap ones before this returns, others later. A caller's fault is a reply, not raised."""
        touched: dict[ServedVersion, None] = {}
        for group in groups:
            try:
                touched[self._enqueue(group)] = None
            except ServingError as error:  # no model was reached
                self._rejections.add(group.calls[0].protocol, type(error).__name__, len(group.calls))
                group.sink.refuse(group.calls, error)
            except Exception:  # a fault of ours must not reach the calls that arrived beside this one
                log.exception("a request for %s failed with an internal error", group.route)
                self._rejections.add(group.calls[0].protocol, ModelFailed.__name__, len(group.calls))
                group.sink.refuse(group.calls, ModelFailed(INTERNAL_ERROR))
        for served_version in touched:
            self._drive(served_version, self._inline_s_max)

    def _enqueue(self, group: RequestGroup) -> ServedVersion:
        """Find who answers, check the inputs, answer what is cached, and queue the rest."""
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
                served_version.counts.had_no_rows(len(task.calls), task.protocol)
            return True
        now = self._clock()
        with served_version.lock:
            if served_version.retired:
                return False  # the routes changed after we read them
            hits, refused = _admit_to(served_version, task, now)
        if hits:
            _answer_hits(served_version, task, hits, now)
            ended_at = self._clock()
            with served_version.lock:
                served_version.counts.hit(len(hits), ended_at - now, ended_at, task.protocol)
        for calls, error in refused:
            _refuse(served_version, calls, error)
        return True

    def _drive(self, served_version: ServedVersion, here_s_max: float) -> None:
        """Run what is due while an instance is free: here if it should take `here_s_max` at most, else on a worker."""
        while (
            served_version.queue.rows
        ):  # read without the lock: whoever adds rows later finds our instance free, and drives
            now = self._clock()
            with served_version.lock:
                cut = served_version.queue.take(now) if served_version.free else Batch()
                gone = _with_followers(served_version, cut.gone)
                if cut.tasks:
                    served_version.free -= 1
                else:
                    self._set_alarm(served_version, now)
            for call in gone:
                _refuse(served_version, [call], _why_gone(call, now))
            if not cut.tasks:
                return
            rows = cut.rows
            if here_s_max < math.inf and served_version.model.cost.seconds(rows) > here_s_max:
                self._workers.run(partial(self._work, served_version, cut, rows))
            else:
                self._run_and_free(served_version, cut, rows)

    def _work(self, served_version: ServedVersion, cut: Batch, rows: int) -> None:
        """On a worker: run this batch, and whatever has queued up meanwhile."""
        self._run_and_free(served_version, cut, rows)
        self._drive(served_version, math.inf)

    def _run_and_free(self, served_version: ServedVersion, cut: Batch, rows: int) -> None:
        seconds = None
        try:
            seconds = self._run(served_version, cut)
        finally:
            with served_version.lock:
                served_version.ran(rows, seconds)
            if served_version.retired and served_version.idle:
                self._forget(served_version)

    def _run(self, served_version: ServedVersion, cut: Batch) -> float | None:
        """Run one batch and answer its calls, in so many seconds. None if it failed: they were answered apart."""
        clock, tasks = self._clock, cut.tasks
        began_at = clock()
        try:
            arrays = assembly.gather(tasks)
            gathered_at = clock()
            outputs = served_version.model.runner.run(arrays)
            ran_at = clock()
            encoded = [(task, part, task.encode(part)) for task, part in assembly.scatter(tasks, outputs)]
        except Exception as error:  # whatever the runtime raises for rows that it cannot take
            self._run_apart(served_version, cut, error)
            return None
        if self._observer is not None:
            self._observer.ran(served_version.model.interface, cut, began_at, gathered_at, ran_at)
        ids, run, answered, cached = None, None, 0, served_version.cache is not None
        if (recording := served_version.recorder) is not None:
            ids, run = recording.ran(tasks, arrays, outputs, ran_at, shared=cached)
        for place, (task, part, replies) in enumerate(encoded):
            if ids is None:
                _answer(task.calls, replies)
            else:
                recorder.answer(task, task.calls, replies, ids, answered)
                answered += len(task.calls)
            if cached:
                self._keep(served_version, task, replies, part, run, place)
        ended_at = clock()
        rows = cut.rows
        with served_version.lock:
            for arrived_at, task in zip(cut.arrivals, tasks, strict=True):
                calls = task.calls
                served_version.counts.answered(
                    arrived_at, len(calls), calls[0].protocol, rows, began_at, gathered_at, ran_at, ended_at
                )
                rows = 0
        return ended_at - began_at

    def _run_apart(self, served_version: ServedVersion, cut: Batch, error: Exception) -> None:
        """Halve a batch that failed until the calls at fault are alone, so that their neighbours get answers."""
        calls = [call for task in cut.tasks for call in task.calls]
        if len(calls) > 1:
            for half in cut.halves():
                self._run(served_version, half)
            return
        with served_version.lock:
            calls, is_news = _with_followers(served_version, calls), served_version.failed(self._clock())
        if is_news:
            call, text = calls[0], "%s failed on a request (logged once in %g s)"
            if not call.request_id and not call.tail:  # a name for both, the line and whoever asks about it
                call.request_id = request_ids.new_id()
            told = {"request_id": call.request_id, "call_tail": call.tail}
            log.error(text, served_version, FAILURE_LOG_INTERVAL_S, exc_info=error, extra=told)
        _refuse(served_version, calls, ModelFailed(f"the model failed on these rows: {error}"))

    def _keep(
        self,
        served_version: ServedVersion,
        task: BatchTask,
        replies: Sequence[bytes],
        outputs: Sequence[Array],
        run: Run | None,
        place: int,
    ) -> None:
        """Keep the replies for those who ask the same later, and give them to those who already have.

        `outputs`: the task's. `run` and `place`: where the recorder has it.
        """
        assert served_version.cache is not None
        now, key_bytes = self._clock(), task.key_bytes()
        marked = [task.mark_cached(reply) for reply in replies]
        outputs_each = repeat(()) if run is None else assembly.apart(outputs, len(task.calls), task.rows_each)
        with served_version.lock:
            for call, reply, own in zip(task.calls, marked, outputs_each, strict=False):
                if call.key is not None:  # it ran for itself beside an equal one
                    served_version.cache.store(call.key, key_bytes, reply, now, own)
            following = [served_version.cache.settle(call) for call in task.calls]
            served_version.counts.followed(sum(map(len, following)), task.protocol)
        if self._observer is not None:
            self._observer.followed(task.calls, following)
        answers = [(call, reply) for followers, reply in zip(following, marked, strict=True) for call in followers]
        if run is None or served_version.recorder is None or not answers:
            for follower, reply in answers:
                _answer([follower], [reply])
            return
        ids = served_version.recorder.followed(run, place, following)
        for number, (follower, reply) in enumerate(answers):
            recorder.answer(task, [follower], [reply], ids, number)

    # --- Queues that wait for company -------------------------------------------------------------------------------

    def _set_alarm(self, served_version: ServedVersion, now: float) -> None:
        """With the version's lock held: look again when the oldest call has waited long enough."""
        due_at = served_version.queue.due_at() if served_version.free else None
        if (
            due_at is not None
            and due_at > now
            and (served_version.alarm_at is None or served_version.alarm_at > due_at)
        ):
            served_version.alarm_at = due_at
            self._workers.call_at(due_at, partial(self._ring, served_version))

    def _ring(self, served_version: ServedVersion) -> None:
        with served_version.lock:
            served_version.alarm_at = None
        self._drive(served_version, self._inline_s_max)

    # --- Life cycle -------------------------------------------------------------------------------------------------

    def serve(self, routes: Routes) -> None:
        """Answer by these routes from now on. Versions no longer named take nothing new and finish what they have."""
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
            if served_version.idle:  # from here on it does not become busy
                self._forget(served_version)

    def _forget(self, served_version: ServedVersion) -> None:
        """Let a retired version's model go."""
        with self._versions_lock:
            self._served_versions -= {served_version}

    def stop(self) -> None:
        """Take no new calls. Those already taken are answered; see `idle`."""
        self._stopping = True

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return all(served_version.idle for served_version in self._served_versions)


def _bind(served_version: ServedVersion, group: RequestGroup) -> Bound:
    """Check inputs against the model, and their size against its policy: what it can answer, and what is wrong."""
    try:
        task, rejected = group.bind(served_version.model.interface)
    except ServingError as error:
        return None, [(group.calls, error)]
    if task is not None:
        try:
            served_version.admission.check_size(task)
        except TooManyRows as error:
            return None, [*rejected, (task.calls, error)]
    return task, rejected


def _reject(served_version: ServedVersion, sink: Sink, rejected: Sequence[Rejection]) -> None:
    """Refuse calls of one group, each for its own reason, and count it under that."""
    with served_version.lock:
        for calls, error in rejected:
            served_version.counts.failed(error, len(calls), calls[0].protocol)
    for calls, error in rejected:
        sink.refuse(calls, error)


def _admit_to(served_version: ServedVersion, task: BatchTask, now: float) -> tuple[list[Hit], list[Refusal]]:
    """With the version's lock held: queue what must run. Returns the calls with a cached reply, and those refused."""
    hits: list[Hit] = []
    if served_version.cache is not None:
        hits, task = served_version.cache.look_up(task, now)
    task, refused = served_version.admission.admit(task, served_version.queue.rows, now)
    if task.calls:
        served_version.queue.add(task, now)
    return hits, [(_with_followers(served_version, calls), error) for calls, error in refused]


def _with_followers(served_version: ServedVersion, calls: Sequence[Call]) -> list[Call]:
    """With the version's lock held: these calls and all who share their runs; nobody can join them any more."""
    if served_version.cache is None:
        return list(calls)
    return [each for call in calls for each in (call, *served_version.cache.settle(call))]


def _why_gone(call: Call, now: float) -> ServingError:
    if now >= call.deadline:
        return DeadlineExpired("the deadline passed before the model ran; it did not run")
    return CallCancelled("the caller cancelled before the model ran; it did not run")


def _refuse(served_version: ServedVersion, calls: Sequence[Call], error: ServingError) -> None:
    """Tell calls why they get no answer: those that came together at once, since under overload they are most."""
    together: dict[tuple[Sink, str], list[Call]] = {}
    for call in calls:
        together.setdefault((call.sink, call.protocol), []).append(call)
    with served_version.lock:
        for (_, protocol), group in together.items():
            served_version.counts.failed(error, len(group), protocol)
    for (sink, _), group in together.items():
        sink.refuse(group, error)


def _answer_hits(served_version: ServedVersion, task: BatchTask, hits: Sequence[Hit], now: float) -> None:
    """Answer these calls of a task from the cache."""
    calls, replies = [task.calls[place] for place, _ in hits], [entry[1] for _, entry in hits]
    if served_version.recorder is None:
        _answer(calls, replies)
    else:
        recorder.answer(task, calls, replies, served_version.recorder.cached(task, hits, now))


def _answer(calls: Sequence[Call], replies: Sequence[bytes]) -> None:
    """Send each call its reply with its own tail. All calls of a task came by one transport."""
    calls[0].sink.answer(calls, [reply + call.tail for call, reply in zip(calls, replies, strict=True)])
