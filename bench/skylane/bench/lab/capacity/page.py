"""The result of a search: in words, as a table for a terminal, and as one self-contained HTML file. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

from rich.table import Table
from rich.text import Text

from skylane.bench.figures import known_median
from skylane.bench.lab.capacity.record import Capacity, CapacityRun
from skylane.bench.lab.capacity.screen import COLUMNS, cells, why
from skylane.bench.lab.capacity.search import SPOILT, Goal, Kind, Outcome, Step, Verdict, outcome
from skylane.bench.lab.measure.generator_limit import SHARE_MAX, limits_text
from skylane.bench.lab.output.document import conditions, definitions, document, minute
from skylane.bench.lab.output.live import plain_table, rate_text, us_text
from skylane.bench.lab.output.svg import Axis, Curve, around, chart, figure
from skylane.cli.live import count_text, share_text, time_text
from skylane.convert.publishing.card.html import EMPTY, Html, joined, table_of, tag, text

COLOURS: Final[dict[Kind, str]] = {
    "capacity": "green", "at least": "yellow", "none": "red", "unknown": "yellow", "unsettled": "yellow",
}  # fmt: skip
NAMES: Final[dict[Outcome, str]] = {
    "kept": "kept the target", "broken": "broke it", "limited": "the generator was the limit",
}  # fmt: skip
STYLE: Final = """
.skylane-card svg .step { stroke-width: 8 } .skylane-card svg .kept { stroke: var(--good) }
.skylane-card svg .broken { stroke: var(--failed) } .skylane-card svg .limited { stroke: var(--refused) }
.skylane-card svg .target { stroke: var(--failed); stroke-dasharray: 5 4 }
.skylane-card .key.kept::before { border-color: var(--good) } .skylane-card .key.broken::before { border-color: var(--failed) }
.skylane-card .key.limited::before { border-color: var(--refused) }
.skylane-card .key.target::before { border-top: 2px dashed var(--failed) }
.skylane-card tr.edge td { font-weight: 600 } .skylane-card td .spoilt { color: var(--refused) }
.skylane-card figure { max-width: 44rem } .skylane-card .wide :is(th, td):last-child { padding-left: 1rem; white-space: normal }
"""  # noqa: E501


def goal_of(settings: dict[str, float]) -> Goal:
    """What every rate was held against."""
    return Goal(
        target_p99_ms=settings["target_p99_ms"],
        lost_share_max=settings["lost_percent_max"] / 100,
        precision=settings["precision_percent"] / 100,
    )


def verdict_text(verdict: Verdict, goal: Goal) -> str:
    """A verdict in a sentence."""
    rate = "" if verdict.rate_per_s is None else rate_text(verdict.rate_per_s)
    above = "" if verdict.above_per_s is None else rate_text(verdict.above_per_s)
    kept = f"a p99 of at most {goal.target_p99_ms:g} ms"
    match verdict.kind:
        case "capacity":
            return f"{rate} with {kept}; no longer at {above}"
        case "at least":
            return f"at least {rate} with {kept}: the load generator is the limit; the server's is unknown"
        case "none":
            return f"not even {above} with {kept}"
        case "unknown":
            return f"unknown: the load generator was the limit even at {above}"
        case "unsettled":
            guess = f"the best guess is {rate}" if rate else "no rate was kept more often than not"
            return f"not settled, {guess}: the measurements contradict each other, or they were too few"


def measured_at(steps: Sequence[Step], rate_per_s: float | None, goal: Goal) -> list[Step]:
    """The measurements of a rate that count."""
    return [step for step in steps if step.rate_per_s == rate_per_s and outcome(step, goal) != "limited"]


def table(run: CapacityRun) -> Table:
    """A row for each model and policy."""
    goal = goal_of(run.settings)
    drawn = plain_table()
    drawn.add_column("MODEL", no_wrap=True)
    drawn.add_column("POLICY", no_wrap=True)
    for name in ("SUSTAINS", "NO LONGER AT", "P99 THERE", "CPU/REQ", "ROWS/BATCH", "CACHE", "MEASURED"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for capacity in run.capacities:
        words = (f"{capacity.model} {capacity.version}", capacity.policy, *row(capacity, goal))
        drawn.add_row(*map(Text, words), style=COLOURS[capacity.verdict.kind])
    return drawn


def row(capacity: Capacity, goal: Goal) -> list[str]:
    """The rate, the one above, and what was measured at the rate: medians."""
    verdict, there = capacity.verdict, measured_at(capacity.steps, capacity.verdict.rate_per_s, goal)
    mark = "≥ " if verdict.kind == "at least" else "≈ " if verdict.kind == "unsettled" else ""
    return [
        "–" if verdict.rate_per_s is None else mark + rate_text(verdict.rate_per_s),
        "–" if verdict.above_per_s is None or verdict.kind == "at least" else rate_text(verdict.above_per_s),
        us_text(known_median(step.p99_us for step in there)),
        us_text(known_median(step.cpu_us for step in there)),
        count_text(known_median(step.batch_rows for step in there)),
        share_text(known_median(step.hit_share for step in there)),
        f"{len(capacity.steps)} ×",
    ]


def page(run: CapacityRun) -> str:
    """The whole file."""
    goal = goal_of(run.settings)
    names = ", ".join(dict.fromkeys(capacity.model for capacity in run.capacities))
    requests = f"{'1 row' if run.rows == 1 else f'{run.rows} rows'} in a request; {run.requests}."
    title = tag("h1", text(names), tag("small", text(" the highest sustainable rate")))
    sections = [_capacity(capacity, goal) for capacity in run.capacities]
    body = (
        tag("header", title, tag("p", text(f"{requests} Measured {minute(run.started_at)} UTC."))),
        *sections,
        _how(run, goal),
    )
    return document(f"{names}: the highest sustainable rate", body, STYLE)


def _capacity(capacity: Capacity, goal: Goal) -> Html:
    drawn = picture(capacity.steps, goal)
    edges = (capacity.verdict.rate_per_s, capacity.verdict.above_per_s)
    rows = [
        ("edge" if step.rate_per_s in edges else None, [text(place), *map(text, cells(step)), _why(step, goal)])
        for place, step in enumerate(capacity.steps, 1)
    ]
    numbers = frozenset(range(len(COLUMNS) + 1))
    steps = table_of(("", *(name.lower() for name in COLUMNS), "target"), rows, numbers)
    opened = tag(
        "details", tag("summary", text(f"All {len(capacity.steps)} measurements, in their order")), steps, open=""
    )
    policy = None
    if capacity.policy_toml is not None:
        policy = tag("details", tag("summary", text("model.toml")), tag("pre", text(capacity.policy_toml or "(empty)")))
    return tag(
        "section",
        tag("h2", text(f"{capacity.model} {capacity.version}, {capacity.policy}")),
        tag("p", tag("strong", text(verdict_text(capacity.verdict, goal))), text(".")),
        drawn, opened, policy,
    )  # fmt: skip


def _why(step: Step, goal: Goal) -> Html:
    kind = {"kept": "good", "broken": "bad", "limited": "spoilt"}[outcome(step, goal)]
    return tag("span", text(why(step, goal)), class_=kind)


def picture(steps: Sequence[Step], goal: Goal) -> Html:
    """p99 over the rate, each measurement a dot; nothing if no answer came."""
    points: defaultdict[float, list[float]] = defaultdict(list)
    dots = []
    for step in steps:
        if step.p99_us is not None:
            kind = outcome(step, goal)
            if kind != "limited":
                points[step.rate_per_s].append(step.p99_us / 1e6)
            dots.append(Curve([(step.rate_per_s, step.p99_us / 1e6)], f"step {kind}", NAMES[kind]))
    if not dots:
        return EMPTY
    target_s = goal.target_p99_ms / 1000
    places = [place for dot in dots for place in dot.points]
    across = around([rate for rate, _ in places])
    up = around([target_s, *(p99_s for _, p99_s in places if p99_s)])
    middles = Curve([(rate, median(values)) for rate, values in sorted(points.items())], "before", "median")
    target = Curve([(across.low, target_s), (across.high, target_s)], "target", f"target, {goal.target_p99_ms:g} ms")
    curves = [target, middles, *dots]
    drawing = chart(curves, across, up, "p99 over requests per second", count_text, time_text, _ticks(across))
    return figure("p99 over requests per second", drawing.inline(), curves)


def _ticks(across: Axis) -> list[float]:
    """Round rates, not too many for their text."""
    ticks = across.ticks()
    return ticks if len(ticks) <= 6 else ticks[::2]


def _how(run: CapacityRun, goal: Goal) -> Html:
    settings = run.settings
    rule = (
        "Each rate is a schedule of requests that know nothing of each other; latency counts from the instant at which "
        f"a request was due. A rate keeps the target if its p99 is {goal.target_p99_ms:g} ms at most and no more than "
        f"{settings['lost_percent_max']:g} % of its requests were refused or failed. One that broke it was measured "
        f"again before that was believed; the one that is reported kept it {settings['votes']} times at least, and "
        "more often than not."
    )
    harness = (
        f"A measurement does not count above {share_text(SHARE_MAX)} of what the generator does against a server that "
        f"does nothing, nor if it {limits_text('the target or of the p99 that it saw')}. "
        f"A rate at which that happens {SPOILT} times is beyond it."
    )
    facts = {
        "generator alone": ", ".join(f"{count_text(each.alone_per_s)}/s for {each.model}" for each in run.capacities),
        "commit": run.commit,
        "server": f"at {run.address}" if run.address else "started for it",
        **conditions(run),
    }  # fmt: skip
    paragraphs = joined([tag("p", text(rule)), tag("p", text(harness))])
    return tag("section", tag("h2", text("How it was measured")), paragraphs, definitions(facts))
