"""What Locust runs: `locust -f bench/locustfile.py --host 127.0.0.1:8500 --scenario steady`. See docs/load-testing.md.

Users are in bench/load/users.py, scenarios in bench/load/scenarios.py; here they are joined to Locust's events.
"""

import logging
from typing import Any

import gevent
import grpc.experimental.gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from bench.lab.questions import Unsuitable
from bench.load import verdict
from bench.load.options import USERS, add_options
from bench.load.session import begin
from bench.load.shape import ScenarioShape
from bench.load.users import InferUser, PredictUser, RestUser, StreamUser

__all__ = ["InferUser", "PredictUser", "RestUser", "ScenarioShape", "StreamUser"]

log = logging.getLogger("skylane")
NOTHING_TO_ASK = 2
"""Exit code of a run that could not begin."""

grpc.experimental.gevent.init_gevent()  # before any channel: calls then yield to the other users


def fill_in(environment: Any, **_: object) -> None:
    """Enough users for a rate, and soon, where nobody says how many."""
    options = environment.parsed_options
    options.num_users = options.num_users or USERS
    options.spawn_rate = options.spawn_rate or USERS


def prepare(environment: Any, **_: object) -> None:
    """Every process asks the server what it takes; one that cannot ends the run with a reason."""
    runner, options = environment.runner, environment.parsed_options
    environment.session = None
    if isinstance(runner, MasterRunner):
        return
    users = int(options.num_users)
    try:
        # On a thread: a worker that is silent for three seconds is given up by its master.
        aside = gevent.get_hub().threadpool.apply
        environment.session = begin(options, environment.host, lambda: runner.user_count / users, aside)
        if environment.shape_class:
            environment.shape_class.reset_time()  # reading the flights is no part of the run
    except Unsuitable as error:
        log.error("%s", error)
        environment.process_exit_code = NOTHING_TO_ASK
        gevent.spawn(runner.quit if options.headless or isinstance(runner, WorkerRunner) else runner.stop)


def tell(environment: Any, **_: object) -> None:
    """What this process could not do."""
    verdict.tell_of_late(getattr(environment, "session", None))


def judge(environment: Any, **_: object) -> None:
    """The verdict, by the process that has all figures."""
    if not isinstance(environment.runner, WorkerRunner) and environment.process_exit_code is None:
        verdict.judge(environment)


for event, listener in (
    (events.init_command_line_parser, add_options),
    (events.init, fill_in),
    (events.test_start, prepare),
    (events.test_stop, tell),
    (events.quitting, judge),
):
    event.add_listener(listener)  # type: ignore[no-untyped-call]
