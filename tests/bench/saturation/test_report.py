"""Tables and pictures of a run made by hand."""

import io
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from skylane.bench.saturation import plots, report
from skylane.bench.saturation.results import Run


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "0.12"), (4.567, "4.57"), (57.06, "57.1"), (12_345.6, "12,346"), (0.0, "0.00")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert report.number(value) == shown


@pytest.mark.parametrize(("ratio", "shown"), [(1 / 13, "1/13"), (0.87, "0.87"), (1.15, "1.15"), (0.0, "0.00")])
def test_small_ratios_are_said_as_parts(ratio: float, shown: str) -> None:
    assert report.share(ratio) == shown


def test_the_tables_fit_their_width(run: Run) -> None:
    console = Console(file=io.StringIO(), width=report.WIDTH)
    report.show(run, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= report.WIDTH
    assert "1/10 " in shown
    assert "yes" in shown
    assert "others used 0.2 of its 2 cores (at most 0.2). Expect noise." in shown
    assert "Skipped workers: not yet" in shown


def test_markdown_has_the_figures_and_their_source(run: Run) -> None:
    page = report.markdown(run, "../bench/results/x.json")
    assert "[x.json](../bench/results/x.json)" in page
    assert "| 8x8 | skylane | 15,000 |" in page
    assert "+1.0 %" in page


def test_a_page_changes_between_its_marks_alone() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.insert(page, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n{report.END}\nafter\n"
    assert report.insert(once, "new") == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        report.insert("nothing here", "new")


def test_every_picture_is_drawn_and_parses(run: Run) -> None:
    drawn = plots.plots(run)
    assert set(drawn) == {"cpu.svg", "latency.svg", "targets.svg", "memory.svg"}
    for content in drawn.values():
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_a_run_without_figures_has_no_pictures(run: Run) -> None:
    assert plots.plots(msgspec.structs.replace(run, samples=(), scenarios={}, soak=None)) == {}
