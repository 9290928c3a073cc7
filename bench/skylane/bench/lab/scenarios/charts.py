"""Charts of one scenario: latency, rates over time, the server's usage, batches and the cache. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log10
from typing import Final

from skylane.bench.lab.output.svg import WIDTH, Axis, Curve, around, chart, figure, from_zero
from skylane.bench.lab.scenarios.record import Round, Scenario, Slices
from skylane.cli.live import count_text, time_text
from skylane.convert.publishing.card.html import Html
from skylane.convert.publishing.card.plots import bars

SIZES_MAX: Final = 12
"""Different sizes of batches that have a bar each; more are put together by powers of two."""
NOW, BEFORE = "now", "before"


def pictures(scenario: Scenario, before: Scenario | None) -> list[Html]:
    """Pictures of the rounds that are reported; none if there are none."""
    reported = scenario.reported
    if not reported:
        return []
    shown = middle(reported)
    named = f"round {shown.round + 1}, the middle one by p99"
    charts = [_spectrum(reported, before.reported if before else []), _over_time(shown, scenario.loop, named)]
    if any(value is not None for value in shown.slices.p99_us):
        charts.append(_latency_over_time(shown, named))
    charts += _usage(shown, named)
    batches = Counter[int]()
    for round_ in reported:
        batches.update(round_.batches or {})
    if batches:
        runs = sum(batches.values())
        charts.append(figure("Batches by rows", _bars(sizes(batches)), note=f"of {runs:,} executions, all rounds"))
    if shares := cache_shares(reported):
        charts.append(figure("Calls and the cache", _bars(shares), note="as the server counts them, all rounds"))
    return charts


def _bars(percent: Mapping[str, float]) -> Html:
    digits = {name: float(f"{value:.{3 if value >= 1 else 2}g}") for name, value in percent.items()}
    return bars(digits, " %", widths=(WIDTH, 150))


def middle(rounds: Sequence[Round]) -> Round:
    """The round whose p99 is the median."""
    return sorted(rounds, key=lambda round_: round_.p99_us or 0.0)[(len(rounds) - 1) // 2]


def sizes(batches: Mapping[int, int]) -> dict[str, float]:
    """Percent of executions by how many rows they had."""
    runs = sum(batches.values())
    if len(batches) <= SIZES_MAX:
        return {_rows(rows, rows): batches[rows] / runs * 100 for rows in sorted(batches)}
    binned = Counter[int]()
    for rows, count in batches.items():
        binned[max(rows - 1, 0).bit_length()] += count
    return {
        _rows(2 ** (power - 1) + 1 if power else 1, 2**power): binned[power] / runs * 100
        for power in range(min(binned), max(binned) + 1)
    }


def cache_shares(rounds: Iterable[Round]) -> dict[str, float]:
    """Percent of calls from the cache, by a run of their own, and by that of an equal one; nothing without a cache."""
    hits, misses, counted = (
        sum(value or 0 for value in values)
        for values in zip(*((round_.hits, round_.misses, round_.counted) for round_ in rounds), strict=True)
    )
    if not counted or not hits + misses:
        return {}
    shared = max(counted - hits - misses, 0)
    calls = {"from the cache": hits, "run for it": misses, "run of an equal one": shared}
    return {name: count / counted * 100 for name, count in calls.items()}


def _rows(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _spectrum(now: Sequence[Round], before: Sequence[Round]) -> Html:
    """Latency over how rare it is to take longer: even steps from 90 % to 99 % to 99.9 %."""
    curves = [
        Curve(_rare(round_), css_class, name)
        for rounds, css_class, name in ((before, BEFORE, "the earlier run"), (now, NOW, "this run, each round"))
        for round_ in rounds
    ]
    points = [point for curve in curves for point in curve.points]
    across = Axis(0.0, max(1.0, *(x for x, _ in points)))
    ticks = [log10(2), *(float(nines) for nines in range(1, int(across.high) + 1))]
    drawing = chart(
        curves, across, around([y for _, y in points if y]), "latency by percentile", _percentile_text, time_text, ticks
    )
    return figure("Latency by percentile", drawing.inline(), curves)


def _rare(round_: Round) -> list[tuple[float, float | None]]:
    last = log10(max(round_.answered, 2))
    return [(-log10(1 - share) if share < 1 else last, us / 1e6) for share, us in round_.percentiles if us > 0]


def _percentile_text(nines: float) -> str:
    return f"{100 * (1 - 10**-nines):.{max(int(nines + 1e-9) - 2, 0)}f} %"


def _over_time(round_: Round, loop: str, named: str) -> Html:
    slices = round_.slices
    wanted = (
        ("offered", slices.offered, "before"), ("answered", slices.answered, "now"),
        ("refused", slices.refused, "refused"), ("failed", slices.failed, "failed"),
    )  # fmt: skip
    charts = wanted if loop == "open" else wanted[1:]  # a closed loop offers what is answered
    curves = [Curve(_rates(slices, counts), css_class, name) for name, counts, css_class in charts if any(counts)]
    values = [y for curve in curves for _, y in curve.points if y is not None]
    drawing = chart(
        curves, _seconds(slices), from_zero(values), "requests per second over time", _second_text, count_text
    )
    return figure("Requests per second", drawing.inline(), curves, named)


def _latency_over_time(round_: Round, named: str) -> Html:
    slices = round_.slices
    points = [(at, None if us is None else us / 1e6) for at, us in zip(_middles(slices), slices.p99_us, strict=True)]
    curve = Curve(points, NOW)
    drawing = chart(
        [curve], _seconds(slices), around([y for _, y in points if y]), "p99 over time", _second_text, time_text
    )
    return figure("p99 of requests due then", drawing.inline(), note=named)


def _usage(round_: Round, named: str) -> list[Html]:
    """The server's CPU and memory over time."""
    usage, across = round_.usage, _seconds(round_.slices)
    if usage is None:
        return []
    charts = []
    for title, values in (("Server CPU, in cores", usage.cores), ("Server memory, in MiB", usage.rss_mib)):
        points = [(at, value) for at, value in zip(usage.at_s, values, strict=True) if 0 <= at <= across.high]
        drawing = chart([Curve(points, NOW)], across, from_zero(values), f"{title} over time", _second_text, count_text)
        charts.append(figure(title, drawing.inline(), note=named))
    return charts


def _rates(slices: Slices, counts: Sequence[int]) -> list[tuple[float, float | None]]:
    """Without the last slice, which is no whole one, unless it is the only one."""
    whole = counts[:-1] or counts
    return [(at, count / slices.slice_s) for at, count in zip(_middles(slices), whole, strict=False)]


def _middles(slices: Slices) -> list[float]:
    return [(place + 0.5) * slices.slice_s for place in range(len(slices.offered))]


def _seconds(slices: Slices) -> Axis:
    return Axis(0.0, len(slices.offered) * slices.slice_s)


def _second_text(seconds: float) -> str:
    return f"{seconds:g} s"
