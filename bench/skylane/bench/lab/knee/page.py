"""The highest rate, told: in words, as a table for a terminal, and as one HTML file that needs nothing else. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

from rich.table import Table
from rich.text import Text

from skylane.bench.lab.knee.record import Knee, Knees
from skylane.bench.lab.knee.screen import COLUMNS, cells, why
from skylane.bench.lab.knee.search import SPOILT, Goal, Kind, Outcome, Step, Verdict, outcome
from skylane.bench.lab.measure.truth import CORES_MAX, LATE_SHARE_MAX, LATE_US_MAX, SHARE_MAX
from skylane.bench.lab.screens.charts import Axis, Curve, around, chart, figure
from skylane.bench.lab.screens.document import conditions, definitions, document, minute
from skylane.bench.lab.screens.live import rate_text, us_text
from skylane.cli.live import count_text, share_text, time_text
from skylane.convert.publishing.card.html import EMPTY, Html, joined, table_of, tag, text

COLOURS: Final[dict[Kind, str]] = {
    "knee": "green", "at least": "yellow", "none": "red", "unknown": "yellow", "unsettled": "yellow",
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


def said(verdict: Verdict, goal: Goal) -> str:
    """A verdict in a sentence."""
    rate = "" if verdict.rate_per_s is None else rate_text(verdict.rate_per_s)
    above = "" if verdict.above_per_s is None else rate_text(verdict.above_per_s)
    kept = f"a p99 of at most {goal.target_p99_ms:g} ms"
    match verdict.kind:
        case "knee":
            return f"{rate} with {kept}; no longer at {above}"
        case "at least":
            return f"at least {rate} with {kept}: the generator is the limit here, what the server can do is not known"
        case "none":
            return f"not even {above} with {kept}"
        case "unknown":
            return f"nothing is known: the generator was the limit even at {above}"
        case "unsettled":
            guess = f"the best guess is {rate}" if rate else "no rate was kept more often than not"
            return f"not settled, {guess}: the measurements contradict each other, or they were too few"


def measured_at(steps: Sequence[Step], rate_per_s: float | None, goal: Goal) -> list[Step]:
    """The measurements of a rate that count."""
    return [step for step in steps if step.rate_per_s == rate_per_s and outcome(step, goal) != "limited"]


def table(found: Knees) -> Table:
    """A row for each model and policy."""
    goal = goal_of(found.settings)
    drawn = Table(box=None, header_style="dim", pad_edge=False)
    drawn.add_column("MODEL", no_wrap=True)
    drawn.add_column("POLICY", no_wrap=True)
    for name in ("SUSTAINS", "NO LONGER AT", "P99 THERE", "CPU/REQ", "ROWS/BATCH", "CACHE", "MEASURED"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for knee in found.knees:
        words = (f"{knee.model} {knee.version}", knee.policy, *row(knee, goal))
        drawn.add_row(*map(Text, words), style=COLOURS[knee.verdict.kind])
    return drawn


def row(knee: Knee, goal: Goal) -> list[str]:
    """The rate, the one above, and what was measured at the rate: medians."""
    verdict, there = knee.verdict, measured_at(knee.steps, knee.verdict.rate_per_s, goal)

    def middle(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def time_of(values: Sequence[float | None]) -> str:
        return us_text(middle(values))

    mark = "≥ " if verdict.kind == "at least" else "≈ " if verdict.kind == "unsettled" else ""
    return [
        "–" if verdict.rate_per_s is None else mark + rate_text(verdict.rate_per_s),
        "–" if verdict.above_per_s is None or verdict.kind == "at least" else rate_text(verdict.above_per_s),
        time_of([step.p99_us for step in there]),
        time_of([step.cpu_us for step in there]),
        count_text(middle([step.batch_rows for step in there])),
        share_text(middle([step.hit_share for step in there])),
        f"{len(knee.steps)} ×",
    ]


def page(found: Knees) -> str:
    """The whole file."""
    goal = goal_of(found.settings)
    names = ", ".join(dict.fromkeys(knee.model for knee in found.knees))
    asked = f"{'1 row' if found.rows == 1 else f'{found.rows} rows'} in a request; {found.asked}."
    title = tag("h1", text(names), tag("small", text(" the highest sustainable rate")))
    sections = [_knee(knee, goal) for knee in found.knees]
    body = (
        tag("header", title, tag("p", text(f"{asked} Measured {minute(found.started_at)} UTC."))),
        *sections,
        _how(found, goal),
    )
    return document(f"{names}: the highest sustainable rate", body, STYLE)


def _knee(knee: Knee, goal: Goal) -> Html:
    drawn = picture(knee.steps, goal)
    edges = (knee.verdict.rate_per_s, knee.verdict.above_per_s)
    rows = [
        ("edge" if step.rate_per_s in edges else None, [text(place), *map(text, cells(step)), _why(step, goal)])
        for place, step in enumerate(knee.steps, 1)
    ]
    numbers = frozenset(range(len(COLUMNS) + 1))
    steps = table_of(("", *(name.lower() for name in COLUMNS), "target"), rows, numbers)
    opened = tag("details", tag("summary", text(f"All {len(knee.steps)} measurements, in their order")), steps, open="")
    policy = None
    if knee.policy_toml is not None:
        policy = tag("details", tag("summary", text("model.toml")), tag("pre", text(knee.policy_toml or "(empty)")))
    return tag(
        "section",
        tag("h2", text(f"{knee.model} {knee.version}, {knee.policy}")),
        tag("p", tag("strong", text(said(knee.verdict, goal))), text(".")),
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
    return figure("p99 over requests per second", drawing, curves)


def _ticks(across: Axis) -> list[float]:
    """Round rates, not too many for their text."""
    ticks = across.ticks()
    return ticks if len(ticks) <= 6 else ticks[::2]


def _how(found: Knees, goal: Goal) -> Html:
    settings = found.settings
    rule = (
        "Each rate is a schedule of requests that know nothing of each other; latency counts from the instant at which "
        f"a request was due. A rate keeps the target if its p99 is {goal.target_p99_ms:g} ms at most and no more than "
        f"{settings['lost_percent_max']:g} % of its requests were refused or failed. One that broke it was measured "
        f"again before that was believed; the one that is reported kept it {settings['votes']} times at least, and "
        "more often than not."
    )
    harness = (
        f"A measurement does not count above {share_text(SHARE_MAX)} of what the generator does against a server that "
        f"does nothing, nor if it was behind its schedule by more than {LATE_US_MAX / 1000:g} ms and "
        f"{share_text(LATE_SHARE_MAX)} of the target or of the p99 that it saw, nor if it used more than "
        f"{share_text(CORES_MAX)} of its core. A rate at which that happens {SPOILT} times is beyond it."
    )
    known = {
        "generator alone": ", ".join(f"{count_text(knee.alone_per_s)}/s for {knee.model}" for knee in found.knees),
        "commit": found.commit,
        "server": f"at {found.address}" if found.address else "started for it",
        **conditions(found.machine, found.libraries),
        "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "took": f"{found.took_s:g} s",
    }  # fmt: skip
    paragraphs = joined([tag("p", text(rule)), tag("p", text(harness))])
    return tag("section", tag("h2", text("How it was measured")), paragraphs, definitions(known))
