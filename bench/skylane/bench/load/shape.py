"""How many users there are, and for how long: as the scenario says."""

from typing import Any, ClassVar

from locust import LoadTestShape, User

from skylane.bench.load.session import seconds_of
from skylane.bench.load.users import USERS
from skylane.bench.load.workers import Workers
from skylane.bench.workload.scenarios import SCENARIOS
from skylane.bench.workload.wire import WAYS

SPAWNED_PER_S = 100


class ScenarioShape(LoadTestShape):
    """Without --rate the scenario's curve is one of users; with it, users are there to send and the rate follows."""

    use_common_options: ClassVar[bool] = True

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """See LoadTestShape: asked once a second."""
        assert self.runner is not None
        environment = self.runner.environment
        options: Any = environment.parsed_options
        passed_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        scenario, passed = SCENARIOS[options.scenario], passed_s / seconds_of(options)
        workers: Workers | None = environment.workers  # type: ignore[attr-defined]
        if passed >= 1 and (workers is None or workers.finished(passed_s, environment.stop_timeout)):
            return None
        users = int(options.num_users)
        if not float(options.rate):
            users = max(1, round(users * scenario.curve(min(passed, 1.0))))
        return users, min(float(options.spawn_rate), SPAWNED_PER_S), _classes(options, environment.user_classes)


def _classes(options: Any, allowed: list[type[User]]) -> list[type[User]]:
    """Those of --ask among those that are named on the command line, if any are."""
    every = {name for name, way in WAYS.items() if options.http or not way.http}
    wanted = {options.ask} if options.ask != "all" else every
    return [user for name, user in USERS.items() if name in wanted and user in allowed]
