"""A run as one HTML file that needs nothing else: no scripts, nothing from elsewhere, light and dark. Pure."""

from typing import Final

from skylane.bench.figures import known_median, spread
from skylane.bench.lab.measure.generator_limit import SHARE_MAX, limits_text
from skylane.bench.lab.output.document import conditions, definitions, document, minute
from skylane.bench.lab.scenarios.charts import pictures
from skylane.bench.lab.scenarios.comparison import FIGURES, Comparison, Figure, compare
from skylane.bench.lab.scenarios.record import Scenario, ScenariosRun
from skylane.bench.lab.scenarios.screen import NOT_REPORTED, REFUSAL
from skylane.bench.lab.scenarios.summary import (
    closed,
    company,
    figure_text,
    in_time,
    losses,
    range_text,
    ratio_text,
    refusals,
    terms,
    versus,
)
from skylane.cli.live import count_text, share_text, time_text
from skylane.convert.publishing.card.html import EMPTY, Html, joined, table, tag, text

OFFERED: Final = Figure("sent", "rate", lambda round_: round_.offered_per_s)
ANSWERED: Final = Figure("answered", "rate", lambda round_: round_.answered_per_s)
VERDICTS: Final = {True: "good", False: "bad", None: "soft"}


def page(run: ScenariosRun, baseline: ScenariosRun | None) -> str:
    """The whole file."""
    compared = compare(run, baseline) if baseline is not None else None
    comparable = {line.scenario for line in compared.lines} if compared else set()
    earlier = {each.name: each for each in (baseline.scenarios if baseline else ()) if each.name in comparable}
    sections = (
        _head(run),
        tag("section", tag("h2", text("Figures")), _figures(run)),
        _comparison(baseline, compared) if baseline is not None and compared is not None else EMPTY,
        *(_scenario(each, earlier.get(each.name)) for each in run.scenarios),
        _harness(run),
        _how(run),
    )
    return document(f"{run.model} {run.version}, measured {minute(run.started_at)}", sections)


def _head(run: ScenariosRun) -> Html:
    warnings = [
        tag("p", text(line), class_="warning") for line in company(run) + refusals(run) + losses(run) + closed(run)
    ]
    title = tag("h1", text(run.model), tag("small", text(f" version {run.version}, under load")))
    return tag("header", title, tag("p", text(f"{terms(run)}. Measured {minute(run.started_at)} UTC.")), *warnings)


def _figures(run: ScenariosRun) -> Html:
    headings = ["scenario", "sent", "answered", *(figure.name for figure in FIGURES if figure.kind != "rate")]
    headings += ["lost", "rows/batch", "cache"]
    rows = [_row(scenario) for scenario in run.scenarios]
    note = tag(
        "p",
        text(
            "Medians over the rounds, below them the least and the greatest. Lost: refused, failed, or never answered. "
            "Cache: calls answered from it."
        ),
    )
    timely = [tag("p", text(f"{line}.")) for line in in_time(run)]
    return joined([note, table(headings, rows, frozenset(range(1, len(headings)))), *timely])


def _row(scenario: Scenario) -> list[Html]:
    reported = scenario.reported
    name = tag("span", tag("strong", text(scenario.name)), title=scenario.title)
    if not reported:
        return [name, tag("em", text(NOT_REPORTED), class_="refusal"), *[EMPTY] * (len(FIGURES) + 3)]
    figures = [figure for figure in FIGURES if figure.kind != "rate"]
    lost = sum(each.sent - each.answered for each in reported) / max(sum(each.sent for each in reported), 1)
    return [
        name,
        *(_cell(scenario, figure) for figure in (OFFERED, ANSWERED, *figures)),
        tag("span", text(share_text(lost)), class_="bad" if lost else None),
        text(count_text(known_median(each.batch_rows for each in reported))),
        text(share_text(known_median(each.hit_share for each in reported))),
    ]


def _cell(scenario: Scenario, figure: Figure) -> Html:
    values = [value for each in scenario.reported if (value := figure.of(each)) is not None]
    if not values:
        return text("–")
    rounds = spread(values)
    range_ = tag("small", text(range_text(figure, rounds))) if rounds.low != rounds.high else None
    return tag("span", text(figure_text(figure, rounds.median)), range_, class_="figure")


def _comparison(baseline: ScenariosRun, compared: Comparison) -> Html:
    rule = (
        "A ratio is this run's median over the earlier one's, and in brackets those of the rounds that lie furthest "
        "apart. A verdict stands only where every round of the one beat every round of the other, where that is no "
        "accident, and where the difference is beyond what the machine itself changed."
    )
    rows = [
        [
            text(line.scenario), text(line.figure.name), text(figure_text(line.figure, line.before.median)),
            text(figure_text(line.figure, line.now.median)), text(ratio_text(line.verdict.ratio)),
            tag("span", text(line.verdict.word), class_=VERDICTS[line.verdict.better]),
            tag("span", text(line.verdict.why), class_="soft"),
        ]
        for line in compared.lines
    ]  # fmt: skip
    headings = ("scenario", "figure", "then", "now", "ratio (rounds)", "verdict", "")
    parts = [tag("h2", text("Beside an earlier run")), tag("p", text(f"{versus(baseline, compared)}."))]
    parts += [tag("p", text(f"Not compared: {reason}."), class_="warning") for reason in compared.left_out]
    if rows:
        parts += [table(headings, rows, frozenset((2, 3, 4))), tag("p", text(rule))]
    return tag("section", *parts)


def _scenario(scenario: Scenario, before: Scenario | None) -> Html:
    drawn = pictures(scenario, before)
    content = tag("div", *drawn, class_="plots") if drawn else tag("p", text(f"{REFUSAL}."), class_="warning")
    return tag("section", tag("h2", text(scenario.name)), tag("p", text(f"{scenario.title}.")), content)


def _harness(run: ScenariosRun) -> Html:
    rule = (
        "The generator measured itself before each round: the same requests to a server that does nothing. A round "
        f"is not reported above {share_text(SHARE_MAX)} of that rate, nor if the generator "
        f"{limits_text('the p99 that it saw')}, unless in a closed loop the server had none left either."
    )
    headings = ("round", "alone", "CPU of the generator per request", "and then, of its core", "late, p99")
    rows = [
        [
            text(place + 1), text(f"{count_text(alone.requests_per_s)}/s"), text(time_text(alone.cpu_us / 1e6)),
            text(", ".join(f"{each.name} {share_text(each.rounds[place].generator_cores)}" for each in run.scenarios)),
            text(_lateness(run, place)),
        ]
        for place, alone in enumerate(run.alone)
    ]  # fmt: skip
    return tag("section", tag("h2", text("The harness itself")), tag("p", text(rule)), table(headings, rows))


def _lateness(run: ScenariosRun, place: int) -> str:
    late = [(each.name, each.rounds[place].late_us) for each in run.scenarios]
    return ", ".join(f"{name} {time_text(us / 1e6)}" for name, us in late if us is not None) or "–"


def _how(run: ScenariosRun) -> Html:
    server = "started for it" if run.started_server else f"at {run.address}"
    facts = {
        "commit": run.commit,
        "requests": run.requests,
        "server": server,
        **conditions(run),
    }
    return tag("section", tag("h2", text("How it was measured")), definitions(facts))
