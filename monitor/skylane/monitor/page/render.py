"""Figures of models → one HTML document. Pure: the page that is served and the report in a file are the same.

Every text that comes from models, columns or rows is escaped. The document loads nothing.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from skylane.monitor.page.charts import Point, curves, heat_map
from skylane.monitor.view import (
    NAMES,
    DriftBlock,
    Episode,
    Figures,
    Measured,
    ModelView,
    block_text,
    episodes,
    instant_text,
    interval_text,
    measure_text,
    period_text,
    segment_text,
    share_text,
)
from skylane.version import __version__

STYLE: Final = files("skylane.monitor.page").joinpath("style.css").read_text("utf-8")
RELOAD_S: Final = 60
"""How often a served page is loaded again."""
CURRENT: Final = ' aria-current="page"'
BLOCKS_SHOWN: Final = 120
SEGMENTS_SHOWN: Final = 12
ALARMS_SHOWN: Final = 20
VALUES_SHOWN: Final = 60
SHADES: Final = (
    ("q", "as most blocks of the reference"),
    ("q1", "as some"),
    ("q2", "as few"),
    ("near", "unusual"),
    ("over", "part of an alarm"),
)
"""Classes of the heat map's legend, and what they mean."""


def page(
    views: Sequence[ModelView], *, chosen: str | None = None, served: bool = False, blocks: int = BLOCKS_SHOWN
) -> str:
    """The document. `served`: with links to the other models, of which one is chosen; else all, one below another."""
    shown = [view for view in views if not served or view.model == (chosen or views[0].model)]
    reload = f'<meta http-equiv="refresh" content="{RELOAD_S}">' if served else ""
    body = "".join(_model(view, blocks, alone=served or len(shown) == 1) for view in shown)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(shown[0].model) + ' · ' if len(shown) == 1 else ''}Skylane monitor</title>{reload}"
        f'<link rel="icon" href="data:,"><style>{STYLE}</style>'
        f"<header><h1>Skylane monitor</h1>{_about(shown)}{_links(views, shown) if served else ''}</header>"
        f"<main>{body or _empty()}</main></html>"
    )


def _about(shown: Sequence[ModelView]) -> str:
    if not shown:
        return f'<span class="soft">{__version__}</span>'
    return f'<span class="soft">{__version__}, as known at {instant_text(shown[0].at)}</span>'


def _links(views: Sequence[ModelView], shown: Sequence[ModelView]) -> str:
    current = {view.model for view in shown}
    models = "".join(
        f'<a href="?model={escape(view.model)}"{CURRENT * (view.model in current)}>{escape(view.model)}</a>'
        for view in views
    )
    return f'<nav aria-label="Models">{models}<a href="/metrics">Metrics</a><a href="/api/models">JSON</a></nav>'


def _empty() -> str:
    return (
        "<section><p>No rows have been recorded yet. A server records them if it is started with "
        "<code>--journal DIR</code> and the model's <code>model.toml</code> says <code>journal = true</code> under "
        "<code>[monitor]</code>.</p></section>"
    )


def _model(view: ModelView, blocks: int, *, alone: bool) -> str:
    name = "" if alone else f"<h2>{escape(view.model)}</h2>"
    problems = "".join(f'<p class="bad">{escape(problem)}</p>' for problem in view.problems)
    return (
        name
        + (f"<section>{problems}</section>" if problems else "")
        + _tiles(view)
        + _curves(view, blocks)
        + _alarms(view)
        + _drift(view, blocks)
        + f'<section class="halves"><div>{_segments(view)}</div><div>{_versions(view)}</div></section>'
        + _values(view)
    )


def _tiles(view: ModelView) -> str:
    last = view.blocks[-1] if view.blocks else None
    total = _latest_version(view)
    of = f", version {total.version}" if total and total.version is not None and len(view.versions) > 1 else ""
    known = "–" if last is None or not last.rows else share_text(last.labelled / last.rows)
    headline = total.measures.get(view.headline, Measured()) if total else Measured()
    skill = total.measures.get("skill", Measured()).will_be if total else None
    recent = [alarm for alarm in view.alarms if last is not None and alarm.block == (last.block or 0)]
    tiles = [
        ("Rows", f"{sum(each.rows for each in view.blocks):,}", f"in {len(view.blocks)} blocks"),
        ("Labels of the last block", known, last.words if last else ""),
        (_name(view, view.headline) + of, measure_text(view.headline, headline.will_be), _unsure(view, headline)),
        ("Skill" + of, _percent(skill), "loss saved, against the block's own base rate"),
        ("Alarms", f"{len(episodes(view.alarms))}", f"in {len(view.alarms)} blocks, {len(recent)} in the last one"),
    ]  # fmt: skip
    made = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(words)}</small></dd></div>"
        for name, value, words in tiles
    )
    return f'<section class="tiles" aria-label="Overview"><dl>{made}</dl></section>'


def _unsure(view: ModelView, measured: Measured) -> str:
    return measured.unsure or f"95 %: {interval_text(view.headline, measured)}"


def _latest_version(view: ModelView) -> Figures | None:
    """Of the versions in the newest block the one with most rows; the others are in the table."""
    return max(view.versions, key=lambda each: (each.last_block or 0, each.rows), default=None)


def _name(view: ModelView, measure: str) -> str:
    name = (
        f'share of "{view.positive}"' if measure == "positive_share" and view.positive else NAMES.get(measure, measure)
    )
    return name[0].upper() + name[1:]


def _curves(view: ModelView, blocks: int) -> str:
    shown = view.blocks[-blocks:]
    alarms = {episode.first.block for episode in episodes(view.alarms)}
    figures = ""
    for measure in (view.headline, "positive_share" if view.task == "classifier" else "bias"):
        if measure == "positive_share" and view.positive is None:
            continue
        points = [_point(view, each, measure, each.block in alarms) for each in shown]
        caption = (
            f"<figcaption><b>{escape(_name(view, measure))}</b>"
            '<span class="key looks">as it looked when the block ended</span>'
            '<span class="key">as it will be: with the labels to come</span>'
            '<span class="key interval">95 %</span></figcaption>'
        )
        figures += f"<figure>{caption}{curves(points, title=_name(view, measure) + ' in each block')}</figure>"
    sentences = [view.unjudged, view.horizon, view.estimate, view.change]
    words = "".join(f'<p class="soft">{escape(sentence)}</p>' for sentence in sentences if sentence)
    return f"<section><h2>Performance</h2>{figures}{words}</section>"


def _point(view: ModelView, figures: Figures, measure: str, alarm: bool) -> Point:
    measured = figures.measures.get(measure, Measured())
    words = (
        f"{block_text(figures.block or 0, view.block_us)}: as it looked {measure_text(measure, measured.looks)}, "
        f"as it will be {measure_text(measure, measured.will_be)} ({interval_text(measure, measured)}), "
        f"{figures.rows:,} rows, {figures.words}"
    )
    return Point(figures.block or 0, measured.looks, measured.will_be, measured.low, measured.high, words, alarm)


def _alarms(view: ModelView) -> str:
    found = episodes(view.alarms)
    items = "".join(_alarm(view, episode) for episode in found[:ALARMS_SHOWN])
    if len(found) > ALARMS_SHOWN:
        more = len(found) - ALARMS_SHOWN
        items += f'<li class="soft">and {more} earlier: <code>skylane drift {escape(view.model)}</code> lists all</li>'
    if not items:
        ended = sum(block.closed for block in view.drift)
        items = f'<li class="good">No alarm in {ended} blocks that have ended.</li>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in view.notes)
    extra = f"<h2>What is no alarm</h2><ul>{notes}</ul>" if notes else ""
    return f"<section><h2>Alarms</h2><ol>{items}</ol>{extra}</section>"


def _alarm(view: ModelView, episode: Episode) -> str:
    count = f' <span class="soft">{episode.blocks} blocks</span>' if episode.blocks > 1 else ""
    return (
        f'<li class="alarm"><time>{period_text(episode, view.block_us)}</time>'
        f"<b>version {episode.first.version}</b>{count} "
        f"{escape(episode.first.words)}</li>"
    )


def _drift(view: ModelView, blocks: int) -> str:
    shown = view.drift[-blocks:]
    order = _order(shown)
    cells = [[_cell(block, column) for block in shown] for column in order]
    keys = "".join(f'<span class="key shade {style}">{words}</span>' for style, words in SHADES)
    keys = f"<figcaption><b>Columns × blocks</b>{keys}</figcaption>"
    drawn = heat_map(order, [block.block for block in shown], cells)
    return f"<section><h2>Drift of the inputs and answers</h2><figure>{keys}{drawn}</figure></section>"


def _order(blocks: Iterable[DriftBlock]) -> list[str]:
    """Columns with the most unusual blocks first; ties in the order of the columns."""
    totals: dict[str, int] = {}
    for block in blocks:
        for cell in block.cells:
            totals[cell.column] = totals.get(cell.column, 0) + (0, 0, 0, 1, 100)[cell.shade]
    return sorted(totals, key=lambda name: -totals[name])


def _cell(block: DriftBlock, column: str) -> tuple[int, str] | None:
    return next(((cell.shade, cell.words) for cell in block.cells if cell.column == column), None)


def _segments(view: ModelView) -> str:
    rows = [
        [
            _text(segment_text(each)), _number(f"{each.rows:,}"),
            _number(measure_text(view.headline, each.measures.get(view.headline, Measured()).will_be)),
            _number(_percent(each.measures.get("skill", Measured()).will_be)), _text(each.words, soft=True),
        ]
        for each in view.segments[:SEGMENTS_SHOWN]
    ]  # fmt: skip
    if not rows:
        return (
            '<h2>Worst segments</h2><p class="soft">No segments: name columns in <code>[monitor] segments</code>.</p>'
        )
    head = [("Segment", ""), ("Rows", "n"), (_name(view, view.headline), "n"), ("Skill", "n"), ("", "")]
    blocks = max(each.blocks for each in view.segments)
    title = f"Worst segments of the latest {blocks} block{'s' * (blocks > 1)}"
    return f"<h2>{title}</h2>{_table(head, rows, title)}"


def _versions(view: ModelView) -> str:
    measures = [
        name
        for name in (view.headline, "auc", "accuracy", "rmse")
        if any(name in each.measures for each in view.versions)
    ]
    rows = []
    for each in view.versions:
        measured = each.measures.get(view.headline, Measured())
        values = [_number(measure_text(name, each.measures.get(name, Measured()).will_be)) for name in measures]
        rows.append(
            [_text(f"{each.version}{f', arm {each.arm}' if each.arm else ''}"), _number(f"{each.rows:,}"), *values,
             _text("; ".join((_unsure(view, measured), each.words)), soft=True)]
        )  # fmt: skip
    head = [("Version", ""), ("Rows", "n"), *((_name(view, name), "n") for name in measures), ("", "")]
    return f"<h2>Versions</h2>{_table(head, rows, 'Versions')}"


def _values(view: ModelView) -> str:
    """The curves as a table: for those who cannot see them, and for who wants the numbers."""
    rows = []
    present = {name for each in view.blocks for name in each.measures}
    more = [name for name in ("auc", "calibration") if name in present]
    for each in reversed(view.blocks[-VALUES_SHOWN:]):
        measured = each.measures.get(view.headline, Measured())
        rows.append(
            [_text(block_text(each.block or 0, view.block_us)), _number(f"{each.rows:,}"),
             _number(f"{each.labelled:,}"), _number(measure_text(view.headline, measured.looks)),
             _number(measure_text(view.headline, measured.will_be)),
             _number(interval_text(view.headline, measured)), *(_number(_block_value(each, name)) for name in more),
             _text(each.words, soft=True)]
        )  # fmt: skip
    names = (
        "Block",
        "Rows",
        "Labels",
        "As it looked",
        "As it will be",
        "95 %",
        *(_name(view, name) for name in more),
        "",
    )
    head = [(name, "n" if 0 < place < len(names) - 1 else "") for place, name in enumerate(names)]
    summary = f"The last {len(rows)} blocks as a table"
    return f"<section><details><summary>{summary}</summary>{_table(head, rows, summary)}</details></section>"


def _block_value(figures: Figures, measure: str) -> str:
    """From all labels if they are known, else from those so far."""
    measured = figures.measures.get(measure, Measured())
    return measure_text(measure, measured.looks if measured.will_be is None else measured.will_be)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _text(text: str, *, soft: bool = False) -> str:
    return f'<td class="text{" soft" * soft}">{escape(text)}</td>' if soft else f"<td>{escape(text)}</td>"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _table(head: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], label: str) -> str:
    names = "".join(
        f'<th class="{style}">{escape(name)}</th>' if style else f"<th>{escape(name)}</th>" for name, style in head
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{names}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def json_document(views: Sequence[ModelView]) -> dict[str, Any]:
    """The same figures for programs."""
    return {"models": [view.as_json() for view in views]}
