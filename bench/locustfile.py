"""What Locust runs: `locust -f bench/locustfile.py --host 127.0.0.1:8500 --scenario steady`. See docs/load-testing.md.

Users are in bench/skylane/bench/load/users.py, scenarios in bench/skylane/bench/load/scenarios.py; this file
connects them to Locust's events.
"""

import logging
import signal
import time
from typing import Any

import gevent
import grpc.experimental.gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from skylane.bench.load import verdict
from skylane.bench.load.options import USERS, add_options
from skylane.bench.load.session import begin, settle
from skylane.bench.load.shape import ScenarioShape
from skylane.bench.load.users import InferUser, PredictUser, RestInferUser, RestUser, StreamUser
from skylane.bench.load.workers import BEGUN, UNSUITABLE, meet
from skylane.bench.workload.golden import Unsuitable

__all__ = ["InferUser", "PredictUser", "RestInferUser", "RestUser", "ScenarioShape", "StreamUser"]

log = logging.getLogger("skylane")
NOTHING_TO_ASK = 2
"""Exit code of a run that could not begin."""
GRACE_S = 1.0
"""For an answer beyond its deadline."""

grpc.experimental.gevent.init_gevent()  # before any channel: calls then yield to the other users


def fill_in(environment: Any, **_: object) -> None:
    """Enough users for a rate, and soon, where nobody says how many."""
    options = environment.parsed_options
    options.num_users = options.num_users or USERS
    options.spawn_rate = options.spawn_rate or USERS
    environment.workers = meet(environment.runner, give_up)
    if options.headless and not isinstance(environment.runner, WorkerRunner):
        # With a shape Locust listens for SIGTERM only when the run is over. As Ctrl-C does, it ends a run with all that
        # is told of one, and with its workers.
        gevent.signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)


def prepare(environment: Any, **_: object) -> None:
    """Every process asks the server what it takes; one that cannot ends the run with a reason."""
    runner, options = environment.runner, environment.parsed_options
    environment.session = environment.process_exit_code = None
    if not isinstance(runner, WorkerRunner):
        settle(options)
        environment.stop_timeout = max(environment.stop_timeout, float(options.deadline_ms) / 1000 + GRACE_S)
    if isinstance(runner, MasterRunner):
        environment.workers.reset()
        return
    users = options.whole_users
    try:
        # On a thread: a worker that is silent for three seconds is given up by its master.
        aside = gevent.get_hub().threadpool.apply
        environment.session = begin(options, environment.host, lambda: runner.user_count / users, aside)
        if isinstance(runner, WorkerRunner):
            runner.send_message(BEGUN)
        elif environment.shape_class:
            environment.shape_class.reset_time()  # reading the flights is no part of the run
    except Unsuitable as error:
        if isinstance(runner, WorkerRunner):
            runner.send_message(UNSUITABLE, {"why": str(error)})
        else:
            give_up(environment, str(error))


def give_up(environment: Any, why: str) -> None:
    """Nothing can be asked: say so, once for all processes, and end the run."""
    if environment.process_exit_code is None:
        log.error("%s", why)
        # Once more behind Locust's tables, which are empty: who looks at the last lines alone should know why.
        environment.events.quit.add_listener(lambda **_: log.error("nothing was asked: %s", why))
        environment.process_exit_code = NOTHING_TO_ASK
        gevent.spawn(environment.runner.quit if environment.parsed_options.headless else environment.runner.stop)


def finish(environment: Any, **_: object) -> None:
    """What is due is still sent, and waited for until its deadline: a server that hangs at the end does not pass."""
    if session := getattr(environment, "session", None):
        session.close(time.perf_counter())


def tell(environment: Any, **_: object) -> None:
    """What this process could not do."""
    verdict.tell_of_late(getattr(environment, "session", None))
    if isinstance(environment.runner, WorkerRunner):
        environment.stop_timeout = 0.0  # which a worker waits once more, before it is ready for another run


def judge(environment: Any, **_: object) -> None:
    """The verdict, by the process that has all figures."""
    if not isinstance(environment.runner, WorkerRunner) and environment.process_exit_code is None:
        verdict.judge(environment)


for event, listener in (
    (events.init_command_line_parser, add_options),
    (events.init, fill_in),
    (events.test_start, prepare),
    (events.test_stopping, finish),
    (events.test_stop, tell),
    (events.quitting, judge),
):
    event.add_listener(listener)  # type: ignore[no-untyped-call]
