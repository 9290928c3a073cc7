"""Results made by hand."""

from collections.abc import Callable, Sequence

import pytest

from skylane.bench.host.machine import Machine
from skylane.bench.lab.scenarios.record import Alone, Round, Scenario, ScenariosRun, Slices, UsageSamples

MakeRun = Callable[..., ScenariosRun]


@pytest.fixture
def make_run() -> MakeRun:
    """A run of one scenario whose rounds have these p99, all else plausible."""
    return _lab


def _lab(p99_us: Sequence[float] = (900.0, 1000.0, 1100.0, 950.0), limited: str = "", **fields: object) -> ScenariosRun:
    rounds = tuple(_round(place, value, limited) for place, value in enumerate(p99_us))
    loop: str = str(fields.pop("loop", "open"))
    known: dict[str, object] = {
        "started_at": "2026-01-02T03:04:05+00:00", "took_s": 9.5, "commit": "abc123456", "libraries": {"numpy": "2.0"},
        "machine": Machine(cpu="a <b>", cores=2, memory_mib=1000, kernel="Linux 6", python="3.11", load_before=0.1),
        "address": "127.0.0.1:8500", "started_server": False, "model": "late", "version": 3,
        "rows": 1, "requests": "rows",
        "settings": {"rounds": len(rounds), "seconds": 1.0, "rate_per_s": 100.0, "in_time_ms": None},
        "alone": tuple(Alone(requests_per_s=50_000.0, cpu_us=12.0) for _ in rounds),
        "scenarios": (Scenario(name="steady", title="at one rate", loop=loop, rounds=rounds),),  # type: ignore[arg-type]
    }  # fmt: skip
    return ScenariosRun(**(known | fields))  # type: ignore[arg-type]


def _round(place: int, p99_us: float, limited: str) -> Round:
    return Round(
        round=place, limited_by_generator=limited, seconds=1.0, sent=110, answered=100, refused=7, errors={"4": 3},
        offered_per_s=110.0, answered_per_s=100.0, goodput_per_s=100.0, p50_us=300.0, p90_us=500.0, p99_us=p99_us,
        p999_us=2 * p99_us, max_us=2 * p99_us,
        percentiles=[(0.0, 100.0), (0.5, 300.0), (0.9, 500.0), (1.0, 2 * p99_us)],
        slices=Slices(
            slice_s=0.5, offered=[55, 55, 0], answered=[50, 49, 1], refused=[7, 0, 0], failed=[0, 0, 3],
            p99_us=[p99_us, None, p99_us],
        ),
        late_us=77.0, generator_cores=0.2, server_cores=0.4, cpu_us=150.0, rss_mib=120.0,
        usage=UsageSamples(at_s=[0.25, 0.5, 0.75, 1.0], cores=[0.4, 0.41, 0.4, 0.4], rss_mib=[119.0] + 3 * [120.0]),
        batches={1: 40, 2: 20, 20: 1}, hits=30, misses=60, counted=100,
    )  # fmt: skip
