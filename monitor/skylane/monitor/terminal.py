"""Figures of a model as tables in a terminal, for any width from 80 columns on. Pure."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.monitor.view import (
    NAMES,
    DriftBlock,
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
)

WIDE: Final = 110
"""Columns of a terminal from which tables have more of their own."""
BLOCKS_SHOWN: Final = 14
SEGMENTS_SHOWN: Final = 10
COLUMNS_SHOWN: Final = 12
ALARMS_SHOWN: Final = 20
HEAT: Final = ("·", "░", "▒", "▓", "█")
HEAT_STYLES: Final = ("dim", "dim", "", "yellow", "bold red")


def performance(view: ModelView, width: int, *, blocks: int = BLOCKS_SHOWN) -> RenderableType:
    """How well the model does: in all, by block, by segment, with words for what is unsure."""
    parts: list[RenderableType] = [_title(view, "performance")]
    parts += [Text(problem, "red") for problem in view.problems]
    if view.unjudged:
        return Group(*parts, Text(view.unjudged))
    if not view.blocks:
        return Group(*parts, Text(view.empty))
    parts += [Text(), _versions(view, width), Text(), _blocks(view, width, blocks)]
    if view.segments:
        parts += [Text(), _segments(view, width)]
    sentences = [sentence for sentence in (view.horizon, view.estimate, view.change) if sentence]
    parts += [Text(), *map(Text, sentences)] if sentences else []
    if view.excluded:
        counts = ", ".join(f"{rows:,} {reason}" for reason, rows in view.excluded.items())
        parts.append(Text(f"Not counted: {counts} rows.", "dim"))
    return Group(*parts)


def drift(view: ModelView, width: int, *, blocks: int = BLOCKS_SHOWN) -> RenderableType:
    """Whether inputs and answers are like those that the version was made from."""
    parts: list[RenderableType] = [_title(view, "drift")]
    parts += [Text(problem, "red") for problem in view.problems]
    if not view.drift:
        return Group(*parts, Text(view.empty_drift))
    parts += [Text(), *_alarms(view)]
    if view.notes:
        parts += [Text(), Text("What is no alarm", "bold"), *(Text(f"  {note}") for note in view.notes)]
    parts += [Text(), *_heat(view, width)]
    parts += [Text(), _verdicts(view, blocks)]
    return Group(*parts)


def _title(view: ModelView, what: str) -> Text:
    return Text.assemble((f"{view.model}: {what}", "bold"), (f"  as known at {instant_text(view.at)}", "dim"))


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 1, 0, 0)
    )


def _name(view: ModelView, measure: str) -> str:
    return f"share {view.positive}" if measure == "positive_share" and view.positive else NAMES.get(measure, measure)


def _shown(view: ModelView, width: int) -> list[str]:
    """Measures for which there is room."""
    wanted = (view.headline, "skill", "auc", "accuracy", "calibration", "positive_share", "rmse", "bias")
    present = {name for each in (*view.versions, *view.blocks) for name in each.measures}
    return [name for name in dict.fromkeys(wanted) if name in present][: 6 if width >= WIDE else 3]


def _versions(view: ModelView, width: int) -> Table:
    measures = _shown(view, width)
    table = _table("Versions")
    table.add_column("VERSION", no_wrap=True)
    for name in ("ROWS", *(_name(view, measure).upper() for measure in measures), "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for each in view.versions:
        headline = each.measures.get(view.headline, Measured())
        values = [_value(each, measure) for measure in measures]
        table.add_row(
            f"{each.version}{f' {each.arm}' if each.arm else ''}", f"{each.rows:,}", *values,
            interval_text(view.headline, headline), Text(headline.unsure or each.words, "dim"),
        )  # fmt: skip
    return table


def _value(figures: Figures, measure: str) -> str:
    return measure_text(measure, figures.measures.get(measure, Measured()).will_be)


def _blocks(view: ModelView, width: int, blocks: int) -> Table:
    table = _table(
        f"The last {min(blocks, len(view.blocks))} of {len(view.blocks)} blocks: {_name(view, view.headline)}"
    )
    for name, style in (
        ("BLOCK", "left"),
        ("ROWS", "right"),
        ("LABELS", "right"),
        ("LOOKED", "right"),
        ("WILL BE", "right"),
        ("95 %", "right"),
    ):
        table.add_column(name, justify="right" if style == "right" else "left", no_wrap=True)
    more = [name for name in _shown(view, width) if name != view.headline] if width >= WIDE else []
    for name in more:
        table.add_column(_name(view, name).upper(), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in view.blocks[-blocks:]:
        measured = each.measures.get(view.headline, Measured())
        words = each.words if each.closed else f"not over; {each.words}"
        unsure = measured.unsure if measured.low is None and measured.unsure else ""
        table.add_row(
            block_text(each.block or 0, view.block_us), f"{each.rows:,}", f"{each.labelled:,}",
            measure_text(view.headline, measured.looks), measure_text(view.headline, measured.will_be),
            interval_text(view.headline, measured), *(_value(each, name) for name in more),
            Text("; ".join(part for part in (words, unsure) if part), "dim"),
        )  # fmt: skip
    return table


def _segments(view: ModelView, width: int) -> Table:
    measures = _shown(view, width)
    blocks = max(each.blocks for each in view.segments)
    table = _table(f"The worst segments, of {len(view.segments)}, in the latest {blocks} blocks")
    table.add_column("SEGMENT", overflow="ellipsis", no_wrap=True)
    for name in ("ROWS", *(_name(view, measure).upper() for measure in measures)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for each in view.segments[:SEGMENTS_SHOWN]:
        table.add_row(
            segment_text(each),
            f"{each.rows:,}",
            *(_value(each, measure) for measure in measures),
            Text(each.words, "dim"),
        )
    return table


def _alarms(view: ModelView) -> Sequence[RenderableType]:
    if not view.alarms:
        ended = sum(block.closed for block in view.drift)
        return [Text(f"No alarm in {ended} blocks that have ended.", "green")]
    found = episodes(view.alarms)
    blocks, things = (
        f"{count} {what}{'s' * (count > 1)}" for count, what in ((len(view.alarms), "block"), (len(found), "thing"))
    )
    table = _table(f"{blocks} with an alarm, about {things}")
    table.add_column("BLOCKS", no_wrap=True)
    table.add_column("VERSION", justify="right")
    table.add_column("WHAT", overflow="fold")
    for episode in found[:ALARMS_SHOWN]:
        period = period_text(episode, view.block_us).replace(" to ", "\nto ")
        table.add_row(period, str(episode.first.version), Text(episode.first.words))
    if len(found) > ALARMS_SHOWN:
        return [table, Text(f"and {len(found) - ALARMS_SHOWN} earlier; --format json has all", "dim")]
    return [table]


def _heat(view: ModelView, width: int) -> list[RenderableType]:
    """One character for each column and block."""
    names = 20
    shown = view.drift[-max(10, width - names - 2) :]
    totals: dict[str, int] = {}
    for block in shown:
        for cell in block.cells:
            totals[cell.column] = totals.get(cell.column, 0) + (0, 0, 0, 1, 100)[cell.shade]
    if not totals:
        return [Text("No column has been compared with the reference yet.", "dim")]
    first, last = (block_text(shown[place].block, view.block_us) for place in (0, -1))
    lines: list[RenderableType] = [Text(f"Columns × blocks, {first} to {last}", "bold")]
    for column in sorted(totals, key=lambda name: -totals[name])[:COLUMNS_SHOWN]:
        line = Text(f"{column[:names]:<{names}} ", no_wrap=True)
        for block in shown:
            shade = next((cell.shade for cell in block.cells if cell.column == column), None)
            line.append(" " if shade is None else HEAT[shade], "" if shade is None else HEAT_STYLES[shade])
        lines.append(line)
    more = f", {len(totals) - COLUMNS_SHOWN} more columns" if len(totals) > COLUMNS_SHOWN else ""
    usual = f"{HEAT[0]} {HEAT[1]} {HEAT[2]} as most, some, few blocks of the reference"
    lines.append(Text(f"{usual}  {HEAT[3]} unusual  {HEAT[4]} part of an alarm{more}", "dim"))
    return lines


def _verdicts(view: ModelView, blocks: int) -> Table:
    table = _table(f"The last {min(blocks, len(view.drift))} of {len(view.drift)} verdicts")
    table.add_column("BLOCK", no_wrap=True)
    table.add_column("VERSION", justify="right")
    table.add_column("ROWS", justify="right")
    table.add_column("VERDICT", overflow="fold")
    for block in view.drift[-blocks:]:
        table.add_row(block_text(block.block, view.block_us), str(block.version), f"{block.rows:,}", _verdict(block))
    return table


def _verdict(block: DriftBlock) -> Text:
    style = {"alarm": "bold red", "note": "yellow", "ok": ""}.get(block.status, "dim")
    words = block.words or {"ok": "like the reference"}.get(block.status, block.status)
    return Text(words if block.closed else f"not over: {words}", style)


def show(renderable: RenderableType, console: Console | None = None) -> None:
    """Print; without a terminal, 100 columns wide and without colours."""
    console = console or Console()
    console.print(renderable)
