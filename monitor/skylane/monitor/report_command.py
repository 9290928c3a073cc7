"""The command `skylane monitor report`: the page as one HTML file that needs nothing else."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from skylane.monitor.command import MODELS, STATE
from skylane.monitor.instants import instant_us
from skylane.monitor.page.render import page
from skylane.monitor.state import State, StateUnusable
from skylane.monitor.views import Selection, views_of

BLOCKS = 400


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file. Returns 0, or 2 for what cannot be written."""
    options = _parser().parse_args(argv)
    try:
        now = time.time_ns() // 1000
        as_known = None if options.as_known is None else instant_us(options.as_known)
        with State(options.state, read_only=True) as state:
            views = views_of(state, options.models, now, Selection(as_known=as_known))
        text = page([view for view in views if options.model in (None, view.model)], blocks=BLOCKS)
        _write(options.html, text)
    except (StateUnusable, ValueError, OSError) as error:
        print(f"skylane monitor report: {error}", file=sys.stderr)
        return 2
    print(f"{options.html}: {len(text) / 1e6:.1f} MB")
    return 0


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, "utf-8")
    part.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane monitor report", description="Write the figures of all models, or of one, as an HTML file."
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="this model only (default: all)")
    parser.add_argument("--html", metavar="FILE", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--as-known",
        metavar="TIME",
        help="what was known at this instant, such as 2013-07-01T18:00:00Z, or when this date began in UTC",
    )
    parser.add_argument(
        "--state", metavar="FILE", type=Path, default=STATE, help="state of `skylane monitor` (default: %(default)s)"
    )
    parser.add_argument(
        "--models", metavar="DIR", type=Path, default=MODELS, help="model repository (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
