"""The page: what it says, that it loads nothing, and that no text from outside becomes markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.monitor.page.charts import Point, curves, heat_map, nice_ticks
from skylane.monitor.page.render import page
from skylane.monitor.view import Measured

from .views import DAY_US, figures, view


class _Checked(HTMLParser):
    """Collects tags, and complains about those that are not closed."""

    VOID = frozenset({"meta", "link", "line", "input", "br", "path", "rect", "polygon"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_it_says_what_is_unsure_what_is_wrong_and_what_is_no_alarm() -> None:
    checked = _Checked()
    checked.feed(page([view()]))
    text = " ".join(checked.text)
    for said in (
        "57 % of labels still to come", "wind_speed ×1.61 since 12:00: mph → km/h?",
        "season and drift cannot be told apart",
        "as it looked", "as it will be", "carrier = <b>AA</b>", "99 % of labels are known after 8 h.",
    ):  # fmt: skip
        assert said in text, said
    assert "script" not in checked.tags
    assert "b" in checked.tags


@pytest.mark.parametrize("served", [True, False], ids=["served", "as a file"])
def test_it_loads_nothing_from_elsewhere(served: bool) -> None:
    document = page([view(), view("other")], served=served)
    assert not re.findall(r"(?:src|href)=\"(?!data:,|\?model=|/metrics|/api/models)[^\"]*\"", document)
    assert "url(" not in document
    assert "@import" not in document


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    hostile = f"</title><script>{text}<img src=x onerror=1>"
    given_view = view(
        segments=(replace(view().segments[0], value=hostile),),
        alarms=(replace(view().alarms[0], words=hostile),),
        notes=(hostile,),
        problems=(hostile,),
        horizon=hostile,
        positive=hostile,
    )
    checked = _Checked()
    checked.feed(page([given_view]))
    assert not checked.tags & {"script", "img"}


def test_the_tiles_show_the_version_that_answered_last_and_the_table_all() -> None:
    shown = view(versions=(figures(version=1, rows=900, last_block=0), figures(version=2, rows=7, last_block=DAY_US)))
    document = page([shown])
    assert "<dt>Log loss, version 2</dt>" in document
    assert all(f"<td>{version}</td>" in document for version in (1, 2))


def test_auc_and_calibration_of_each_block_are_in_the_table_of_blocks() -> None:
    block = figures(0, measures={"auc": Measured(0.61, None), "calibration": Measured(0.1, 0.0312)})
    document = page([view(blocks=(block,))])
    assert all(cell in document for cell in (">AUC</th>", "0.6100</td>", ">Calibration</th>", "0.0312</td>"))


@pytest.mark.parametrize("value", ["", "nan"], ids=["no text", "no number"])
def test_a_segment_without_a_value_is_called_missing(value: str) -> None:
    document = page([view(segments=(figures(column="dewp", value=value, blocks=12),))])
    assert "dewp is missing" in document
    assert "Worst segments of the latest 12 blocks" in document


def test_without_rows_it_says_how_they_come() -> None:
    assert "journal = true" in page([])
    assert "No block has labels yet." in page([view(blocks=(), versions=(), drift=(), alarms=())])


def test_of_several_models_the_page_shows_one_and_the_report_all() -> None:
    views = [view("first"), view("second")]
    assert 'href="?model=second" aria-current="page"' in page(views, chosen="second", served=True)
    assert all(f"<h2>{model}</h2>" in page(views) for model in ("first", "second"))


def _point(at: int, value: float | None, band: bool = True) -> Point:
    return Point(at, value, value, value if band else None, value if band else None, "words")


def test_a_curve_has_a_gap_where_a_block_has_no_value() -> None:
    drawn = curves([_point(0, 1.0), _point(DAY_US, None), _point(2 * DAY_US, 2.0, band=False)], title="loss")
    assert drawn.count('class="first"') == 2
    assert (drawn.count('class="band"'), drawn.count('class="bar"')) == (0, 1)


def test_an_interval_of_blocks_in_a_row_is_a_band() -> None:
    drawn = curves([_point(0, 1.0), _point(DAY_US, 2.0), _point(2 * DAY_US, 2.0, band=False)], title="loss")
    assert (drawn.count('class="band"'), drawn.count('class="bar"')) == (1, 0)


def test_a_heat_map_leaves_out_what_was_not_judged() -> None:
    drawn = heat_map(["a", "b"], [0, DAY_US], [[(0, "x"), None], [(4, "y"), (3, "z")]])
    assert [drawn.count(f'class="s{shade}"') for shade in range(5)] == [1, 0, 0, 1, 1]


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_are_few_rise_and_cover_the_range(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    slack = 1e-6 * max(abs(low), abs(low + width), 1e-3)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
