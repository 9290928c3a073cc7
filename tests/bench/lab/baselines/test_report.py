"""Tables and pictures of a run made by hand."""

import io
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from skylane.bench.lab.baselines import pictures, report
from skylane.bench.lab.baselines.record import BaselinesRun
from skylane.bench.lab.output.numbers import number, ratio_text
from skylane.bench.lab.record import save


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "0.12"), (4.567, "4.57"), (57.06, "57.1"), (12_345.6, "12,346"), (0.0, "0.00")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("ratio", "shown"), [(1 / 13, "1/13"), (0.87, "0.87"), (1.15, "1.15"), (0.0, "0.00")])
def test_small_ratios_are_said_as_parts(ratio: float, shown: str) -> None:
    assert ratio_text(ratio) == shown


def test_the_tables_fit_their_width(run: BaselinesRun) -> None:
    console = Console(file=io.StringIO(), width=report.WIDTH)
    report.show(run, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= report.WIDTH
    assert "1/10 " in shown
    assert "yes" in shown
    assert "others used 0.2 of its 2 cores (at most 0.2). Expect noise." in shown
    assert "Skipped workers: not yet" in shown


def test_markdown_has_the_figures_and_their_source(run: BaselinesRun) -> None:
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


def test_every_picture_is_drawn_and_parses(run: BaselinesRun) -> None:
    drawn = pictures.pictures(run)
    assert set(drawn) == {"cpu.svg", "latency.svg", "targets.svg", "memory.svg"}
    for content in drawn.values():
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_a_run_without_figures_has_no_pictures(run: BaselinesRun) -> None:
    assert pictures.pictures(msgspec.structs.replace(run, samples=(), scenarios={}, soak=None)) == {}


def test_a_run_is_written_into_a_page_and_as_pictures(run: BaselinesRun, tmp_path: Path) -> None:
    results, page = tmp_path / "results" / "run.json", tmp_path / "page.md"
    save(run, results)
    page.write_text(f"{report.BEGIN}\n{report.END}\n")
    assert report.main([str(results), "--write", str(page), "--pictures", str(tmp_path / "page")]) == 0
    assert "[run.json](results/run.json)" in page.read_text()
    assert (tmp_path / "page" / "cpu.svg").read_text() == pictures.pictures(run)["cpu.svg"]
