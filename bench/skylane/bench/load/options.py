"""What a load tester may say: options of Locust's own command line, which its web page shows as well."""

import argparse
import math
from collections.abc import Callable
from typing import Any, Final

from skylane.bench.arguments import positive
from skylane.bench.load.thresholds import Thresholds
from skylane.bench.workload.scenarios import SCENARIOS
from skylane.bench.workload.wire import WAYS

USERS: Final = 50
"""Where --users says nothing."""


def at_least(least: float, *, exclusive: bool = False, most: float = math.inf) -> Callable[[str], float]:
    """A type for argparse: a finite number within these."""
    expected = f"more than {least:g}" if exclusive else f"{least:g} or more"
    expected += f" and {most:g} at most" if most < math.inf else ""

    def number(text: str) -> float:
        value = float(text)
        if not (least < value if exclusive else least <= value) or value > most or math.isinf(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
        return value

    return number


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ours to Locust's. Not as a group: Locust's web page does not show those."""
    listed = "; ".join(f"{scenario.name}: {scenario.description}" for scenario in SCENARIOS.values())
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="steady", help=listed.replace("%", "%%"))
    parser.add_argument("--model", default="flights_late", help="name of the model that is asked")
    parser.add_argument(
        "--ask",
        choices=["all", *WAYS],
        default="predict",
        help="predict and stream: Skylane's gRPC; infer: the Open Inference Protocol's; rest and rest-infer: JSON "
        "of both over HTTP; all: users of every kind, those of HTTP if --http is given",
    )
    parser.add_argument(
        "--http", default="", metavar="HOST:PORT", help="the server's HTTP port, for --ask rest and rest-infer"
    )
    parser.add_argument(
        "--rate",
        type=at_least(0),
        default=0.0,
        metavar="PER_S",
        help="requests per second that are sent whatever becomes of them, at random instants, each timed from its "
        "instant; 0: every user asks again when it has its answer",
    )
    parser.add_argument(
        "--zipf",
        type=at_least(-1),
        default=-1.0,
        metavar="S",
        help="how uneven rows repeat: the k-th most frequent of 10,000 is drawn in proportion to k**-S; 0: all alike; "
        "-1: as the scenario says",
    )
    parser.add_argument(
        "--deadline-ms",
        type=at_least(0, exclusive=True),
        default=5000.0,
        metavar="MS",
        help="after which nobody waits for an answer; with --rate from when the request was due",
    )
    parser.add_argument(
        "--slow-model", default="", metavar="NAME", help="of scenario slow-model; empty: the same model"
    )
    parser.add_argument("--large-rows", type=positive, default=500, metavar="N", help="rows of its large requests")
    parser.add_argument(
        "--max-p99-ms",
        type=at_least(0),
        default=0.0,
        metavar="MS",
        help="fail (exit code 1) if the p99 of any kind of request is above; 0: do not ask",
    )
    parser.add_argument(
        "--max-error-rate",
        type=at_least(0, most=1),
        default=0.01,
        metavar="SHARE",
        help="fail (exit code 1) if a larger share of all requests fails",
    )


def thresholds_of(options: Any) -> Thresholds:
    """What these options ask of a run."""
    return Thresholds(float(options.max_p99_ms) or None, float(options.max_error_rate))
