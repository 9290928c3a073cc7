"""Whether a run was good enough: what makes it fail, in words. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

FAILED: Final = 1
"""Exit code of a run that broke a threshold."""


@dataclass(frozen=True)
class Thresholds:
    """What is asked of a run; None: nothing."""

    p99_ms: float | None = None
    error_rate: float | None = 0.01
    """Share of requests without the right kind of answer; refusals for overload are among them."""


@dataclass(frozen=True)
class Row:
    """What became of the requests under one name."""

    name: str
    requests: int
    failures: int
    p99_ms: float
    judged: bool = True
    """Whether its latency counts: that of requests that are large or wrong on purpose does not."""


def broken(thresholds: Thresholds, rows: Sequence[Row]) -> list[str]:
    """A sentence for each threshold that does not hold; none if the run passed."""
    requests = sum(row.requests for row in rows)
    if not requests:
        return ["no request was sent: is the server there, and did the test last long enough?"]
    return [*_slow(thresholds.p99_ms, rows), *_failing(thresholds.error_rate, rows, requests)]


def _slow(p99_ms: float | None, rows: Iterable[Row]) -> list[str]:
    if p99_ms is None:
        return []
    return [
        f"p99 of {row.name}: {row.p99_ms:g} ms, {row.p99_ms / p99_ms:.1f} times the {p99_ms:g} ms of --max-p99-ms"
        for row in rows
        if row.judged and row.requests and row.p99_ms > p99_ms
    ]


def _failing(error_rate: float | None, rows: Sequence[Row], requests: int) -> list[str]:
    failures = sum(row.failures for row in rows)
    if error_rate is None or failures <= error_rate * requests:
        return []
    worst = max(rows, key=lambda row: row.failures)
    return [
        f"{failures:,} of {requests:,} requests failed, {failures / requests:.2%}; --max-error-rate allows "
        f"{error_rate:.2%} (most of them: {worst.name})"
    ]
