"""What the processes of one run tell each other beside what Locust does: that they begin, cannot, or have finished.

Workers need a second or two before they can ask, so the time counts from when all of them can. At the end Locust's
master waits half a second for the last figures of its workers; a request may take longer, and one that is not answered
must not go uncounted. So the master asks them first to finish what is due.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from locust.runners import STATE_SPAWNING, MasterRunner, WorkerRunner

BEGUN: Final = "skylane-begun"
UNSUITABLE: Final = "skylane-unsuitable"
FINISH: Final = "skylane-finish"
FINISHED: Final = "skylane-finished"
LOOK_S: Final = 0.1
SPAWNED_S: Final = 5.0


class Workers:
    """The workers, as their master sees them."""

    def __init__(self, runner: MasterRunner, give_up: Callable[[Any, str], None]) -> None:
        """`give_up`: told of the environment, and why a worker cannot begin."""
        self._runner, self._give_up = runner, give_up
        self._asked_at: float | None = None
        self._begun, self._finished = set[str](), set[str]()
        runner.register_message(BEGUN, self._hear_begun)
        runner.register_message(UNSUITABLE, self._hear_unsuitable, concurrent=True)
        runner.register_message(FINISHED, self._hear_finished)

    def reset(self) -> None:
        """A run begins."""
        self._asked_at = None
        self._begun.clear()
        self._finished.clear()

    def finished(self, now: float, patience_s: float) -> bool:
        """Whether all have answered what is due, or had so long to; asks for it when called first."""
        if self._asked_at is None:
            self._asked_at = now
            self._runner.send_message(FINISH)
        return len(self._finished) >= self._runner.worker_count or now > self._asked_at + patience_s

    def _hear_begun(self, environment: Any, msg: Any, **_: object) -> None:
        self._begun.add(msg.node_id)
        if len(self._begun) == self._runner.worker_count:
            environment.shape_class.reset_time()

    def _hear_unsuitable(self, environment: Any, msg: Any, **_: object) -> None:
        with gevent.Timeout(SPAWNED_S, False):
            while self._runner.state == STATE_SPAWNING:  # Locust forgets workers that it stops meanwhile
                gevent.sleep(LOOK_S)
        self._give_up(environment, msg.data["why"])

    def _hear_finished(self, msg: Any, **_: object) -> None:
        self._finished.add(msg.node_id)


def meet(runner: Any, give_up: Callable[[Any, str], None]) -> Workers | None:
    """Listen to the other processes. The master gets its workers."""
    if isinstance(runner, WorkerRunner):
        runner.register_message(FINISH, _finish, concurrent=True)
    return Workers(runner, give_up) if isinstance(runner, MasterRunner) else None


def _finish(environment: Any, **_: object) -> None:
    if session := environment.session:
        session.close(time.perf_counter())
        gevent.sleep(LOOK_S)  # those who wait for an instant that has just come
        while session.asking:
            gevent.sleep(LOOK_S)
    environment.runner.send_message(FINISHED)
