"""What is said at the end of a run, and its exit code."""

import logging
from typing import Any

from skylane.bench.load.options import thresholds_of
from skylane.bench.load.thresholds import FAILED, Row, broken
from skylane.bench.workload.arrivals import LATE_S
from skylane.bench.workload.requests import judged

log = logging.getLogger("skylane")

LATE_SHARE = 0.01
"""Of requests that left late, worth a word."""


def rows_of(stats: Any) -> list[Row]:
    """Locust's figures of a run."""
    return [
        Row(
            f"{entry.method} {entry.name}",
            entry.num_requests,
            entry.num_failures,
            float(entry.get_response_time_percentile(0.99) or 0),
            judged=judged(entry.name),
        )
        for entry in stats.entries.values()
    ]


def judge(environment: Any) -> None:
    """Say which threshold does not hold, and let the process exit with 1 then."""
    said = broken(thresholds_of(environment.parsed_options), rows_of(environment.stats))
    for sentence in said:
        log.error("FAILED: %s", sentence)
    if environment.process_exit_code is None:
        environment.process_exit_code = FAILED if said else 0
    if not said:
        log.info("passed: every threshold held")


def tell_of_late(session: Any) -> None:
    """Say so if requests could not leave at their time."""
    arrivals = getattr(session, "arrivals", None)
    if arrivals and arrivals.late > LATE_SHARE * arrivals.taken:
        log.warning(
            "%s of %s requests left more than %g ms after their time, since every user was waiting or this process had "
            "no CPU left. Their latency counts from their time. If the server is not to blame: more --users, "
            "--processes -1",
            f"{arrivals.late:,}", f"{arrivals.taken:,}", LATE_S * 1000,
        )  # fmt: skip
