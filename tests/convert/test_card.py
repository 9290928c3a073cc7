"""The model card: whole, escaped, self-contained, and possible for every manifest."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skylane.convert import Published, convert_pipeline
from skylane.convert.publishing.card import page
from skylane.convert.publishing.card.__main__ import main
from skylane.convert.publishing.card.plots import LARGE, histogram, shown
from skylane.convert.publishing.profile import quantile_bins
from skylane.manifest import Manifest, decode

VOID = {"meta"}


class Nesting(HTMLParser):
    """Fails where an element is not closed, or refers to anything outside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        assert not {"src", "href"}.intersection(name for name, _ in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "


def words(html: str) -> str:
    parser = Nesting()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return " ".join(parser.words.split())


@pytest.fixture(scope="module")
def published(mixed: Any, tmp_path_factory: pytest.TempPathFactory) -> Published:
    report = convert_pipeline(mixed.estimator, mixed.rows, target=mixed.target, metrics={"auc": 0.75})
    return report.publish("leaving", tmp_path_factory.mktemp("models"))


def test_a_published_version_has_a_card_that_says_what_the_manifest_says(published: Published) -> None:
    html = (published.path / "card.html").read_text("utf-8")
    said = words(html)
    assert said.startswith("leaving 1")
    for word in (
        "leaving version 1",
        "labels changed",
        "0.75 auc reported by the author",
        "income",
        "Köln",
        "probability of stays",
    ):
        assert word in said
    for candidate in published.candidates:
        assert candidate.note in said
    assert published.manifest.lineage.pipeline_sha256 in said
    assert html.count("<svg") >= 4, "times, two columns of numbers, answers"
    assert "card.html" in (published.path / "SHA256SUMS").read_text()


def test_the_card_of_a_version_can_be_made_again(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(published.path)]) == 0
    assert capsys.readouterr().out == (published.path / "card.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "usage: python -m skylane.convert.publishing.card", id="no version"),
        pytest.param(["/nowhere"], "/nowhere: SHA256SUMS: cannot be read", id="a version that is not there"),
    ],
)
def test_no_card(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_notebook_shows_the_card_of_what_is_not_published_yet(linear: Any, tmp_path: Path) -> None:
    report = convert_pipeline(linear.estimator, linear.rows)
    shown_there = words(report._repr_html_())
    assert "unnamed not published yet" in shown_there
    assert list(report.table.index) == [candidate.name for candidate in report.manifest.candidates]
    assert report.table["chosen"].sum() == 1
    assert "input float" in " ".join(report.explain().split())
    assert "candidate" in str(report)
    report.save(tmp_path / "card.html")
    assert "unnamed version 1" in words((tmp_path / "card.html").read_text("utf-8"))
    assert list(tmp_path.iterdir()) == [tmp_path / "card.html"], "nothing is published"


def first_release(manifest: Manifest) -> Manifest:
    """As one that was written before profiles and most figures."""
    return msgspec.structs.replace(
        manifest, skipped={}, held_out_rows=None, metric=None, batches={}, quantization=None, notes=(), profile=None
    )


def reporting_much(manifest: Manifest) -> Manifest:
    lineage = msgspec.structs.replace(manifest.lineage, metrics={f"figure_{place}": 0.5 for place in range(9)})
    return msgspec.structs.replace(manifest, lineage=lineage)


def hostile(manifest: Manifest) -> Manifest:
    """With markup in every text that its author may choose."""
    attack = "<script>alert(1)</script>\"'"
    content = msgspec.json.encode(manifest).decode().replace("income", "INCOME")
    changed = decode(content.replace("INCOME", "<i onload='x'>").encode())
    lineage = msgspec.structs.replace(changed.lineage, estimator=attack, loaded=attack)
    return msgspec.structs.replace(changed, lineage=lineage, notes=(attack,), skipped={attack: attack})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(first_release, id="a manifest of the first release"),
        pytest.param(lambda m: msgspec.structs.replace(m, candidates=()), id="no candidates"),
        pytest.param(lambda m: msgspec.structs.replace(m, columns=(), profile=None), id="no columns"),
        pytest.param(reporting_much, id="many figures of the author's own"),
        pytest.param(hostile, id="markup in names and notes"),
    ],
)
def test_every_manifest_has_a_card(published: Published, change: Callable[[Manifest], Manifest]) -> None:
    html = page(change(published.manifest))
    assert "version 1" in words(html)
    assert "<i " not in html


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40), st.integers(1, 20))
@example([0.0, 5e-324], 2)
def test_bars_stay_in_their_drawing(values: list[float], bins: int) -> None:
    found = quantile_bins(np.array(values), bins)
    assert found is not None
    for x, y, width, height in rectangles(histogram(found, LARGE)):
        assert -0.1 <= x <= x + width <= LARGE[0] + 1
        assert -0.1 <= y <= y + height <= LARGE[1] + 0.2


def rectangles(svg: str) -> Iterator[tuple[float, ...]]:
    for match in re.finditer(r'<rect x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)"', svg):
        yield tuple(float(each) for each in match.groups())


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3.0, "3"),
        (1_700_000_000.0, "1,700,000,000"),
        (5148.35, "5,148"),
        (0.123456, "0.1235"),
        (1e-9, "1e-09"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_as_people_write_them(number: float, text: str) -> None:
    assert shown(number) == text
