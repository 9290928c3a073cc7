"""One run, as one process of Locust sees it: what is asked next, and when."""

import http.client
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np

from skylane.bench.workload.arrivals import Arrivals, instants
from skylane.bench.workload.golden import Unsuitable, ready_models
from skylane.bench.workload.requests import Question, Requester, Requests, rows_of
from skylane.bench.workload.scenarios import SCENARIOS, Kind
from skylane.bench.workload.wire import WAYS, Tensors, Way
from skylane.client import Client
from skylane.client.errors import NotFound, SkylaneError

WAIT_S: Final = 5.0
"""For a server to answer what it has, before the run is given up."""
WHERE: Final = "start one with `skylane serve --models models`, and name its gRPC port with --host, as 127.0.0.1:8500"


Aside = Callable[[Callable[..., Tensors], tuple[Any, ...]], Tensors]
"""Calls a function with arguments, and lets others go on meanwhile."""


@dataclass
class Session:
    """What the users of one process share."""

    address: str
    """Of gRPC, as host:port."""
    http_address: str
    requester: Requester
    arrivals: Arrivals | None
    """None: each user asks again when it has its answer."""
    timeout_s: float
    """From when a request is due."""
    asking: int = 0
    """Users who do not merely wait for their time."""
    closed: bool = False

    def draw(self, way: Way) -> Question:
        """The next request."""
        return self.requester.draw(way)

    def close(self, now: float) -> None:
        """The run ends: users send what is due by now, and nothing else."""
        self.closed = True
        if self.arrivals:
            self.arrivals.close(now)


def address_of(host: str | None) -> str:
    """`host:port` as gRPC wants it, of what Locust calls a host. Raises Unsuitable."""
    address = (host or "").removeprefix("http://").removeprefix("grpc://").rstrip("/")
    if not address:
        raise Unsuitable(f"there is no server to ask: {WHERE}")
    return address


def settle(options: Any) -> None:
    """Write down how many users there are to be and for how long, where workers read it.

    Locust sends its workers no options of its own, so they do not know what its web page was told, and --processes
    takes --run-time from those that it starts.
    """
    options.whole_users, options.whole_seconds = int(options.num_users), seconds_of(options)


def begin(options: Any, host: str | None, share: Callable[[], float], aside: Aside) -> Session:
    """Ask the server what it takes, and prepare. Raises Unsuitable.

    `share`: this process's part of the whole load, now. `aside` does what takes seconds.
    """
    scenario = SCENARIOS[options.scenario]
    address = address_of(host)
    if options.ask in WAYS and WAYS[options.ask].http and not options.http:
        raise Unsuitable(
            f"--ask {options.ask} needs --http HOST:PORT, the server's HTTP port: `skylane serve --http-port 8501`"
        )
    rng = np.random.default_rng((time.time_ns(), os.getpid()))
    exponent = scenario.zipf if float(options.zipf) < 0 else float(options.zipf)
    try:
        with Client(address, timeout_s=WAIT_S) as client:
            requests = _requests(client, options, exponent, rng, aside)
    except NotFound as error:
        raise Unsuitable(f"{error.detail}; say which with --model and --slow-model") from error
    except (SkylaneError, grpc.RpcError, ValueError) as error:
        raise Unsuitable(f"the server at {address} cannot be asked: {error}; {WHERE}") from error
    http_address = address_of(options.http) if options.http else ""
    if http_address:
        _check_http(http_address)
    makers = _makers(requests, options, rng)
    mix = {kind.value: weight for kind, weight in scenario.mix.items()}
    return Session(
        address=address,
        http_address=http_address,
        requester=Requester(mix, makers, int(rng.integers(2**32))),
        arrivals=_arrivals(options, share),
        timeout_s=float(options.deadline_ms) / 1000,
    )


def _check_http(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=WAIT_S)
    try:
        connection.request("GET", "/v2/health/live")
        connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise Unsuitable(
            f"nobody answers HTTP at {address}: {error}; start the server with `--http-port 8501`, and name that port "
            "with --http, as 127.0.0.1:8501"
        ) from error
    finally:
        connection.close()


def _requests(
    client: Client, options: Any, exponent: float, rng: np.random.Generator, aside: Aside
) -> dict[str, Requests]:
    """Name → who draws requests for this model."""
    kinds, names = SCENARIOS[options.scenario].mix.keys(), {options.model}
    if Kind.ANY in kinds:
        names = set(ready_models(client)) or names
    if Kind.LARGE in kinds and options.slow_model:
        names.add(options.slow_model)
    made = {}
    for name in sorted(names):
        schema = client.model(name)
        made[name] = Requests(schema, aside(rows_of, (schema, rng)), exponent, rng)
    return made


def _makers(
    requests: dict[str, Requests], options: Any, rng: np.random.Generator
) -> dict[str, Callable[[Way], Question]]:
    every = list(requests.values())
    usual = requests.get(options.model, every[0])
    slow = requests.get(options.slow_model or options.model, usual)
    return {
        Kind.USUAL.value: usual.usual,
        Kind.ANY.value: lambda way: every[int(rng.integers(len(every)))].usual(way),
        Kind.LARGE.value: lambda way: slow.large(way, int(options.large_rows)),
        Kind.BAD.value: usual.bad,
    }


def seconds_of(options: Any) -> float:
    """How long a run lasts, as its master knows."""
    given = options.run_time
    if isinstance(given, str) and given:
        from locust.util.timespan import parse_timespan

        given = parse_timespan(given)
    return float(given or SCENARIOS[options.scenario].seconds)


def _arrivals(options: Any, share: Callable[[], float]) -> Arrivals | None:
    rate = float(options.rate)
    if not rate:
        return None
    curve, seconds = SCENARIOS[options.scenario].curve, float(options.whole_seconds)
    due = instants(lambda now: rate * share() * curve(min(now / seconds, 1.0)), random.Random())
    return Arrivals(due, time.perf_counter(), seconds)
