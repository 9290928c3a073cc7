"""The commands `skylane performance` and `skylane drift`: a model's figures as tables, or as JSON."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType

from skylane.cli.tables import json_text
from skylane.monitor import terminal
from skylane.monitor.command import MODELS, STATE
from skylane.monitor.instants import instant_us, since_us
from skylane.monitor.state import State, StateUnusable
from skylane.monitor.view import ModelView
from skylane.monitor.views import Selection, view_of

PLAIN_WIDTH: Final = 100

EPILOG: Final = """\
The figures are those of the last pass of `skylane monitor`. --as-known computes
them anew from the labels that were known at an earlier instant.

examples:
  skylane {command} flights_late
  skylane {command} flights_late --version 3 --since 14d
  skylane {command} flights_late --since 2013-07-01 --format json
"""

Shown = Callable[[ModelView, int, int], RenderableType]


def performance(argv: Sequence[str] | None = None) -> int:
    """Print how well a model does. Returns 0, or 2 for what cannot be shown."""
    return _run("performance", argv, lambda view, width, blocks: terminal.performance(view, width, blocks=blocks))


def drift(argv: Sequence[str] | None = None) -> int:
    """Print whether a model's inputs are like those that it was made from. Returns 0, or 2."""
    return _run("drift", argv, lambda view, width, blocks: terminal.drift(view, width, blocks=blocks))


def _run(command: str, argv: Sequence[str] | None, shown: Shown) -> int:
    options = _parser(command).parse_args(argv)
    try:
        now = time.time_ns() // 1000
        selection = Selection(
            version=options.version,
            since=None if options.since is None else since_us(options.since, now),
            segment=options.segment,
            as_known=None if options.as_known is None else instant_us(options.as_known),
        )
        with State(options.state, read_only=True) as state:
            if options.model not in state.models():
                known = ", ".join(state.models()) or "none"
                raise ValueError(f"no rows of a model {options.model!r} are known; models with rows: {known}")
            view = view_of(state, options.models, options.model, now, selection)
    except (StateUnusable, ValueError) as error:
        print(f"skylane {command}: {error}", file=sys.stderr)
        return 2
    if options.format == "json":
        print(json_text(view.as_json()))
        return 0
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    console.print(shown(_limited(view), console.width, options.blocks))
    return 0


def _limited(view: ModelView) -> ModelView:
    return replace(view, problems=view.problems[:5])


def _parser(command: str) -> argparse.ArgumentParser:
    what = "how well a model does, by version, segment and block of time"
    if command == "drift":
        what = "whether a model's inputs and answers are like those that it was made from"
    parser = argparse.ArgumentParser(
        prog=f"skylane {command}",
        description=f"Show {what}.",
        epilog=EPILOG.format(command=command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument("--version", metavar="N", type=int, help="rows that this version answered (default: all)")
    parser.add_argument("--since", metavar="TIME", help="blocks from this instant or date on, or the last 14d or 6h")
    if command == "performance":
        parser.add_argument("--segment", metavar="COLUMN[=VALUE]", help="segments of this column, or one of them")
    else:
        parser.set_defaults(segment=None)
    parser.add_argument(
        "--as-known",
        metavar="TIME",
        help="what was known at this instant, such as 2013-07-01T18:00:00Z, or when this date began in UTC",
    )
    parser.add_argument(
        "--blocks", metavar="N", type=int, default=terminal.BLOCKS_SHOWN, help="blocks to list (default: %(default)s)"
    )
    parser.add_argument(
        "--state", metavar="FILE", type=Path, default=STATE, help="state of `skylane monitor` (default: %(default)s)"
    )
    parser.add_argument(
        "--models", metavar="DIR", type=Path, default=MODELS, help="model repository (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="output format (default: table)")
    return parser
