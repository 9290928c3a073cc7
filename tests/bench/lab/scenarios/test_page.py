"""What the report says and draws, and that it needs nothing but itself."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from skylane.bench.host.machine import Machine
from skylane.bench.lab.output.svg import TICKS_MAX, Axis, around, from_zero
from skylane.bench.lab.scenarios.charts import cache_shares, middle, sizes
from skylane.bench.lab.scenarios.page import page
from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.lab.scenarios.summary import summary

MakeRun = Callable[..., ScenariosRun]
VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9)


class Elements(HTMLParser):
    """Every element of a page with its attributes; checks that they are closed in order."""

    VOID = ("meta", "!doctype")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(content)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_but_itself(make_run: MakeRun) -> None:
    content = page(make_run(), make_run([500.0, 510.0, 520.0, 530.0]))
    elements = Elements(content).found
    assert not {"script", "link", "iframe", "img", "object"} & {name for name, _ in elements}
    assert not [attributes for _, attributes in elements if {"src", "href", "xlink:href"} & attributes.keys()]
    assert not re.search(r"https?://|url\(|@import", content)


def test_everything_is_drawn(make_run: MakeRun) -> None:
    elements = Elements(page(make_run(), None))
    drawn = [attributes["aria-label"] for name, attributes in elements.found if name == "svg"]
    assert drawn[:5] == [
        "latency by percentile", "requests per second over time", "p99 over time", "Server CPU, in cores over time",
        "Server memory, in MiB over time",
    ]  # fmt: skip
    assert "Batches by rows" in elements.text
    assert "from the cache" in elements.text


def test_text_from_elsewhere_is_no_markup(make_run: MakeRun) -> None:
    assert "a <b>" in Elements(page(make_run(), None)).text


def test_what_the_generator_limited_is_not_reported(make_run: MakeRun) -> None:
    run = make_run([123_456.0] * 4, limited="the generator was 9 ms behind its schedule")
    text = Elements(page(run, None)).text
    assert "not reported: the generator was 9 ms behind its schedule" in text
    assert "123 ms" not in text
    assert "Latency by percentile" not in text
    assert "123 ms" in Elements(page(make_run([123_456.0] * 4), None)).text


def test_how_requests_were_lost_is_said(make_run: MakeRun) -> None:
    said = "steady: of 440 requests these were not answered: 28 × RESOURCE_EXHAUSTED, 12 × DEADLINE_EXCEEDED"
    assert said in Elements(page(make_run(), None)).text
    console = Console(width=120, record=True, file=StringIO())
    console.print(summary(make_run(), None))
    assert said in console.export_text()


def test_answers_in_time_are_counted_where_a_time_is_asked_for(make_run: MakeRun) -> None:
    settings = {"rounds": 4, "seconds": 1.0, "rate_per_s": 100.0, "in_time_ms": 20.0}
    said = "steady: 100/s were answered within 20 ms"
    assert said in Elements(page(make_run(settings=settings), None)).text
    assert "within" not in Elements(page(make_run(), None)).text


@pytest.mark.parametrize(("cores", "told"), [(None, False), (0.1, False), (0.9, True)])
def test_other_programs_are_told_of(make_run: MakeRun, cores: float | None, told: bool) -> None:
    (scenario,) = make_run().scenarios
    rounds = tuple(msgspec.structs.replace(found, other_cores=cores) for found in scenario.rounds)
    text = Elements(page(make_run(scenarios=(msgspec.structs.replace(scenario, rounds=rounds),)), None)).text
    assert ("other programs used 0.9 of this machine's 2 cores" in text) is told


def test_a_server_out_of_sight_is_measured_from_outside(make_run: MakeRun) -> None:
    run = make_run()
    (scenario,) = run.scenarios
    unseen = {"usage": None, "cpu_us": None, "rss_mib": None, "batches": None, "hits": None, "misses": None}
    rounds = tuple(msgspec.structs.replace(found, counted=None, **unseen) for found in scenario.rounds)
    text = Elements(page(make_run(scenarios=(msgspec.structs.replace(scenario, rounds=rounds),)), None)).text
    assert "Latency by percentile" in text
    assert "Server CPU" not in text
    assert "Batches by rows" not in text


@pytest.mark.parametrize(
    ("now", "then", "word"),
    [
        pytest.param([500.0] * 4, [1000.0] * 4, "faster", id="half the p99 in every round"),
        pytest.param([2000.0] * 4, [1000.0] * 4, "slower", id="twice the p99 in every round"),
        pytest.param(
            [500.0, 500.0, 500.0, 1000.0], [1000.0] * 4, "rounds of the two overlap", id="one round as before"
        ),
        pytest.param([500.0] * 2, [1000.0] * 4, "by chance", id="two rounds only"),
    ],
)
def test_a_verdict_stands_only_where_the_spread_allows_one(
    make_run: MakeRun, now: list[float], then: list[float], word: str
) -> None:
    text = Elements(page(make_run(now), make_run(then))).text
    assert word in text
    assert (word in ("faster", "slower")) == ("faster" in text or "slower" in text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"model": "other"}, "measured other", id="another model"),
        pytest.param({"rows": 8}, "had 8 rows", id="other requests"),
        pytest.param(
            {"machine": Machine(cpu="x", cores=8, memory_mib=1, kernel="", python="", load_before=0)},
            "another machine: 8 cores", id="another machine",
        ),
        pytest.param({"scenarios": ()}, "did not have it", id="another scenario"),
        pytest.param({"limited": "late"}, "limited by the generator", id="figures that are not reported"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_not(make_run: MakeRun, changes: dict[str, object], reason: str) -> None:
    text = Elements(page(make_run(), make_run(**changes))).text
    assert "Not compared" in text
    assert reason in text
    assert "ratio (rounds)" not in text


@given(values=VALUES)
def test_axes_have_a_few_round_ticks_within(values: list[float]) -> None:
    for axis in (from_zero(values), around(values)):
        ticks = axis.ticks()
        places = [axis.at(tick) for tick in ticks]
        assert places == sorted(places)
        assert all(-1e-6 <= place <= 1 + 1e-6 for place in places)
        assert 1 <= len(ticks) <= max(TICKS_MAX + 1, 14)
        assert all(0 <= axis.at(value) <= 1 for value in values)


@given(low=st.floats(1e-6, 1e5), decades=st.floats(0.1, 8), share=st.floats(0, 1))
def test_a_logarithmic_axis_is_even_in_ratios(low: float, decades: float, share: float) -> None:
    axis = Axis(low, low * 10**decades, log=True)
    assert axis.at(low * 10 ** (decades * share)) == pytest.approx(share, abs=1e-6)


@given(st.dictionaries(st.integers(1, 5000), st.integers(1, 1000), min_size=1, max_size=40))
def test_every_batch_is_in_one_bar(batches: dict[int, int]) -> None:
    assert sum(sizes(batches).values()) == pytest.approx(100)


@pytest.mark.parametrize(
    ("batches", "names"),
    [
        pytest.param({3: 1, 1: 1}, ["1", "3"], id="few sizes: one bar each"),
        pytest.param(dict.fromkeys(range(1, 14), 1), ["1", "2", "3–4", "5–8", "9–16"], id="many: by powers of two"),
    ],
)
def test_bars_of_batches(batches: dict[int, int], names: list[str]) -> None:
    assert list(sizes(batches)) == names


def test_calls_and_the_cache(make_run: MakeRun) -> None:
    rounds = make_run().scenarios[0].rounds
    assert cache_shares(rounds) == {"from the cache": 30, "run for it": 60, "run of an equal one": 10}
    assert not cache_shares([msgspec.structs.replace(rounds[0], hits=0, misses=0)])


def test_the_middle_round_is_shown(make_run: MakeRun) -> None:
    assert middle(make_run([3.0, 1.0, 2.0]).scenarios[0].rounds).p99_us == 2.0
