"""The request path: many calls in, many replies out.

Whoever brings work to a lane with a free instance runs it, on its own thread if the run is predicted to be cheap and
on a worker otherwise, and goes on until the lane's queue is empty; whoever finds the lane busy leaves the work there.
So calls that arrive while a batch runs are the next batch, nothing waits while an instance is free, and a cheap batch
never changes threads. docs/adr/0002-batch-from-the-socket.md says why.

Knows no protocol, no ONNX Runtime and no files. Time and threads come from outside (`clock`, `Workers`), so a test can
run the whole of it from one seed.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Protocol

from server import request_ids
from server.block import Ask, Block
from server.engine import assembly
from server.engine.admission import Refusal
from server.engine.batching import Cut
from server.engine.lane import FAILURES_TOLD_S, Lane
from server.engine.observer import Observer
from server.errors import (
    CallCancelled,
    DeadlineExpired,
    InputMismatch,
    ModelFailed,
    ModelNotFound,
    ServingError,
    ShuttingDown,
)
from server.routing.routes import Routes
from server.tally import Tally
from server.types import Call, Sink

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
        inline_s_max: float = INLINE_S_MAX,
        observer: Observer | None = None,
        unserved: Tally | None = None,
    ) -> None:
        """`unserved`: where calls are counted that reach no model."""
        self._workers, self._clock, self._inline_s_max = workers, clock, inline_s_max
        self._observer = observer
        self._routes = Routes()
        self._lanes: frozenset[Lane] = frozenset()
        self._lanes_lock = Lock()
        self._stopping = False
        self._unserved = unserved or Tally()

    # --- The request path -------------------------------------------------------------------------------------------

    def submit(self, asks: Iterable[Ask]) -> None:
        """Answer these calls: cheap ones before this returns, others later. A caller's fault is a reply, not raised."""
        touched: dict[Lane, None] = {}
        for ask in asks:
            try:
                touched[self._enqueue(ask)] = None
            except ServingError as error:
                if isinstance(error, ModelNotFound | ShuttingDown):  # the others were counted where they belong
                    self._unserved.add(ask.calls[0].protocol, type(error).__name__, len(ask.calls))
                ask.sink.refuse(ask.calls, error)
            except Exception:  # a fault of ours must not reach the calls that arrived beside this one
                log.exception("a request for %s met a fault of the server", ask.route)
                self._unserved.add(ask.calls[0].protocol, ModelFailed.__name__, len(ask.calls))
                ask.sink.refuse(ask.calls, ModelFailed("internal error; the log has more"))
        for lane in touched:
            self._drive(lane, self._inline_s_max)

    def _enqueue(self, ask: Ask) -> Lane:
        """Find who answers, check the inputs, answer what is cached, and queue the rest."""
        while True:
            if self._stopping:
                raise ShuttingDown("the server is shutting down and takes no new requests")
            lane = self._routes.lane(ask.route)
            block = _bind(lane, ask)
            if self._observer is not None:
                self._observer.bound(lane.model.interface, block)
            if block.rows_each == 0:
                _answer(block.calls, block.encode(lane.model.empty))
                with lane.lock:
                    lane.counts.had_no_rows(len(block.calls), block.protocol)
                return lane
            now = self._clock()
            with lane.lock:
                if lane.retired:
                    continue  # the routes changed after we read them
                kept, refused = _admit_to(lane, block, now)
            if kept:
                _answer([call for call, _ in kept], [reply for _, reply in kept])
                ended_at = self._clock()
                with lane.lock:
                    lane.counts.hit(len(kept), ended_at - now, ended_at, kept[0][0].protocol)
            for calls, error in refused:
                _refuse(lane, calls, error)
            return lane

    def _drive(self, lane: Lane, here_s_max: float) -> None:
        """Run what is due while an instance is free: here if it should take `here_s_max` at most, else on a worker."""
        while lane.queue.rows:  # read without the lock: whoever adds rows later finds our instance free, and drives
            now = self._clock()
            with lane.lock:
                cut = lane.queue.take(now) if lane.free else Cut()
                gone = _with_followers(lane, cut.gone)
                if cut.blocks:
                    lane.free -= 1
                else:
                    self._set_alarm(lane, now)
            for call in gone:
                _refuse(lane, [call], _why_gone(call, now))
            if not cut.blocks:
                return
            rows = cut.rows
            if here_s_max < math.inf and lane.model.cost.seconds(rows) > here_s_max:
                self._workers.run(partial(self._work, lane, cut, rows))
            else:
                self._run_and_free(lane, cut, rows)

    def _work(self, lane: Lane, cut: Cut, rows: int) -> None:
        """On a worker: run this batch, and whatever has queued up meanwhile."""
        self._run_and_free(lane, cut, rows)
        self._drive(lane, math.inf)

    def _run_and_free(self, lane: Lane, cut: Cut, rows: int) -> None:
        seconds = None
        try:
            seconds = self._run(lane, cut)
        finally:
            with lane.lock:
                lane.ran(rows, seconds)
            if lane.retired and lane.idle:
                self._forget(lane)

    def _run(self, lane: Lane, cut: Cut) -> float | None:
        """Run one batch and answer its calls, in so many seconds. None if it failed: they were answered apart."""
        clock, blocks = self._clock, cut.blocks
        began_at = clock()
        try:
            arrays = assembly.gather(blocks)
            gathered_at = clock()
            outputs = lane.model.runner.run(arrays)
            ran_at = clock()
            encoded = [(block, block.encode(part)) for block, part in assembly.scatter(blocks, outputs)]
        except Exception as error:  # whatever the runtime raises for rows that it cannot take
            self._run_apart(lane, cut, error)
            return None
        if self._observer is not None:
            self._observer.ran(lane.model.interface, cut, began_at, gathered_at, ran_at)
        for block, replies in encoded:
            _answer(block.calls, replies)
            if lane.cache is not None:
                self._keep(lane, block, replies)
        ended_at = clock()
        rows = cut.rows
        with lane.lock:
            for arrived_at, block in zip(cut.arrivals, blocks, strict=True):
                calls = block.calls
                lane.counts.answered(
                    arrived_at, len(calls), calls[0].protocol, rows, began_at, gathered_at, ran_at, ended_at
                )
                rows = 0
        return ended_at - began_at

    def _run_apart(self, lane: Lane, cut: Cut, error: Exception) -> None:
        """Halve a batch that failed until the calls at fault are alone, so that their neighbours get answers."""
        calls = [call for block in cut.blocks for call in block.calls]
        if len(calls) > 1:
            for half in cut.halves():
                self._run(lane, half)
            return
        with lane.lock:
            calls, is_news = _with_followers(lane, calls), lane.failed(self._clock())
        if is_news:
            call, text = calls[0], "%s failed on a request (told once in %g s)"
            if not call.request_id and not call.tail:  # a name for both, the line and whoever asks about it
                call.request_id = request_ids.made()
            told = {"request_id": call.request_id, "call_tail": call.tail}
            log.error(text, lane, FAILURES_TOLD_S, exc_info=error, extra=told)
        _refuse(lane, calls, ModelFailed(f"the model failed on these rows: {error}"))

    def _keep(self, lane: Lane, block: Block, replies: Sequence[bytes]) -> None:
        """Keep the replies for those who ask the same later, and give them to those who already have."""
        assert lane.cache is not None
        now, key_bytes = self._clock(), block.key_bytes()
        marked = [block.mark_cached(reply) for reply in replies]
        with lane.lock:
            for call, reply in zip(block.calls, marked, strict=True):
                if call.key is not None:  # it ran for itself beside an equal one
                    lane.cache.keep(call.key, key_bytes, reply, now)
            following = [lane.cache.settle(call) for call in block.calls]
            lane.counts.followed(sum(map(len, following)), block.protocol)
        if self._observer is not None:
            self._observer.followed(block.calls, following)
        for followers, reply in zip(following, marked, strict=True):
            for follower in followers:
                _answer([follower], [reply])

    # --- Queues that wait for company -------------------------------------------------------------------------------

    def _set_alarm(self, lane: Lane, now: float) -> None:
        """With the lane's lock held: look again when the oldest call has waited long enough."""
        due_at = lane.queue.due_at() if lane.free else None
        if due_at is not None and due_at > now and (lane.alarm_at is None or lane.alarm_at > due_at):
            lane.alarm_at = due_at
            self._workers.call_at(due_at, partial(self._ring, lane))

    def _ring(self, lane: Lane) -> None:
        with lane.lock:
            lane.alarm_at = None
        self._drive(lane, self._inline_s_max)

    # --- Life cycle -------------------------------------------------------------------------------------------------

    def serve(self, routes: Routes) -> None:
        """Answer by these routes from now on. Lanes no longer named take nothing new and finish what they have."""
        lanes = {lane for model in routes.models.values() for lane in model.versions.values()}
        with self._lanes_lock:
            retiring = self._lanes - lanes
            self._lanes |= lanes
        self._routes = routes
        for lane in retiring:
            with lane.lock:
                lane.retired = True
            if lane.idle:  # from here on it does not become busy
                self._forget(lane)

    def _forget(self, lane: Lane) -> None:
        """Let a retired lane's model go."""
        with self._lanes_lock:
            self._lanes -= {lane}

    def stop(self) -> None:
        """Take no new calls. Those already taken are answered; see `idle`."""
        self._stopping = True

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return all(lane.idle for lane in self._lanes)


def _bind(lane: Lane, ask: Ask) -> Block:
    """Hold inputs against the lane's model. Raises InputMismatch or TooManyRows."""
    asked, protocol = len(ask.calls), ask.calls[0].protocol
    try:
        block = ask.bind(lane.model.interface)
        lane.admission.check_size(block)
    except ServingError as error:
        with lane.lock:
            lane.counts.failed(error, asked, protocol)
        raise
    if len(ask.calls) < asked:  # those whose values were wrong were refused apart
        with lane.lock:
            lane.counts.failed(InputMismatch(""), asked - len(ask.calls), protocol)
    return block


def _admit_to(lane: Lane, block: Block, now: float) -> tuple[list[tuple[Call, bytes]], list[Refusal]]:
    """With the lane's lock held: queue what must run. Returns the calls with a kept reply, and those refused."""
    kept: list[tuple[Call, bytes]] = []
    if lane.cache is not None:
        kept, block = lane.cache.look_up(block, now)
    block, refused = lane.admission.admit(block, lane.queue.rows, now)
    if block.calls:
        lane.queue.add(block, now)
    return kept, [(_with_followers(lane, calls), error) for calls, error in refused]


def _with_followers(lane: Lane, calls: Sequence[Call]) -> list[Call]:
    """With the lane's lock held: these calls and all who share their runs; nobody can join them any more."""
    if lane.cache is None:
        return list(calls)
    return [each for call in calls for each in (call, *lane.cache.settle(call))]


def _why_gone(call: Call, now: float) -> ServingError:
    if now >= call.deadline:
        return DeadlineExpired("the deadline passed before the model ran; it did not run")
    return CallCancelled("the caller cancelled before the model ran; it did not run")


def _refuse(lane: Lane, calls: Sequence[Call], error: ServingError) -> None:
    """Tell calls why they get no answer: those that came together at once, since under overload they are most."""
    together: dict[tuple[Sink, str], list[Call]] = {}
    for call in calls:
        together.setdefault((call.sink, call.protocol), []).append(call)
    with lane.lock:
        for (_, protocol), group in together.items():
            lane.counts.failed(error, len(group), protocol)
    for (sink, _), group in together.items():
        sink.refuse(group, error)


def _answer(calls: Sequence[Call], replies: Sequence[bytes]) -> None:
    """Send each call its reply with its own tail. All calls of a block came by one transport."""
    calls[0].sink.answer(calls, [reply + call.tail for call, reply in zip(calls, replies, strict=True)])
