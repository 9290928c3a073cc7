"""The command `skylane journal`: parses the arguments and runs one of its subcommands."""

import argparse
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from skylane.journal.errors import JournalError
from skylane.monitor.journal_commands import exporting, forget_entity, listing, showing
from skylane.monitor.journal_commands.times import parse_time

OK: Final = 0
FAILED: Final = 1
"""There is nothing to do it with, or it could not be done in full."""
USAGE: Final = 2

EPILOG: Final = """\
DIR is the directory of `skylane serve --journal DIR`; SKYLANE_JOURNAL sets it for
all commands.

examples:
  skylane journal ls
  skylane journal show flights_late --rows 5
  skylane journal export flights_late --as-known 2013-06-01 --out train.parquet
  skylane journal forget --entity N14228
"""
TIMES: Final = """\
TIME is an instant with a zone (2013-06-01T18:00Z), a date (midnight UTC), or so long ago (12h, 7d).
The time of a row is its event_at, or happened_at (when it was answered) where it has none."""

SHOW_EPILOG: Final = f"""\
{TIMES}

examples:
  skylane journal show flights_late                              the newest rows
  skylane journal show flights_late --id 9f2c1a7be04d5538-1a4    one call
  skylane journal show flights_late --entity N14228 --since 7d
  skylane journal show flights_late --columns happened_at inputs.dep_delay outputs.label
"""
EXPORT_EPILOG: Final = f"""\
The end of FILE chooses the format: .parquet, .arrow (IPC file) or .csv. Parquet and
Arrow keep the types of inputs exactly.
With --as-known, each row has the outcome that was known at that time: label, value,
known_at, recorded_at, null where none was known. Later rows are left out.
{TIMES}

examples:
  skylane journal export flights_late --out all.parquet
  skylane journal export flights_late --as-known 2013-06-01 --labelled --out train.parquet
  skylane journal export flights_late --since 2013-05-01 --until 2013-06-01 --out may.csv
"""
FORGET_EPILOG: Final = """\
Removes predictions of the entity, also where it is hashed, and their outcomes. It may
run while servers write: they close their segments first, which takes about two
seconds. Predictions that are made after this command was started are recorded again.
Figures that were computed before, and exported files, are not changed.

The exit code is 0; 1 if a segment could not be changed: run it again.

examples:
  skylane journal forget --entity N14228
  skylane journal forget --entity N14228 --model flights_late --journal /srv/journal
"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand and return the exit code."""
    options = _parser().parse_args(argv)
    options.journal = options.journal or [Path(os.environ.get("SKYLANE_JOURNAL", "journal"))]
    run: Callable[[Namespace], int] = options.run
    try:
        return run(options)
    except (JournalError, ValueError) as error:
        print(f"skylane journal {options.command}: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(
            f"skylane journal {options.command}: {error.filename or 'the journal'}: {error.strerror}", file=sys.stderr
        )
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane journal",
        description="Read and change the journal of predictions.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    _add_ls(commands)
    _add_show(commands)
    _add_export(commands)
    _add_forget(commands)
    return parser


def _add_ls(commands: Any) -> None:
    ls = _add(commands, "ls", "list what the journal holds", "", listing.run)
    ls.add_argument("model", nargs="?", metavar="MODEL", help="list its segments and columns (default: all models)")
    _add_journal(ls)
    ls.add_argument("--format", choices=("table", "json"), default="table", help="output format (default: table)")


def _add_show(commands: Any) -> None:
    show = _add(commands, "show", "print rows of a model, the newest last", SHOW_EPILOG, showing.run)
    show.add_argument("model", metavar="MODEL", help="name of the model")
    show.add_argument("--rows", type=_positive, metavar="N", default=10, help="rows at most (default: 10)")
    show.add_argument("--id", metavar="ID", help="rows of this call, by its prediction id or the caller's request id")
    show.add_argument("--entity", metavar="X", help="rows about this entity, also where it is hashed")
    show.add_argument("--columns", nargs="+", metavar="NAME", help="columns, or fields such as inputs.distance")
    _add_choice(show)
    _add_journal(show)
    show.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")


def _add_export(commands: Any) -> None:
    export = _add(commands, "export", "write rows of a model, with outcomes, to a file", EXPORT_EPILOG, exporting.run)
    export.add_argument("model", metavar="MODEL", help="name of the model")
    export.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write; - for CSV on stdout"
    )
    export.add_argument("--as-known", type=_time, metavar="TIME", help="add the outcomes that were known at this time")
    export.add_argument("--labelled", action="store_true", help="only rows with an outcome; with --as-known")
    export.add_argument("--columns", nargs="+", metavar="NAME", help="columns, or fields such as inputs.distance")
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")
    _add_choice(export)
    _add_journal(export)


def _add_forget(commands: Any) -> None:
    forget = _add(commands, "forget", "remove all rows about one entity", FORGET_EPILOG, forget_entity.run)
    forget.add_argument("--entity", required=True, metavar="X", help="value of the column that [monitor] entity names")
    forget.add_argument("--model", metavar="MODEL", help="rows of this model only (default: all models)")
    forget.add_argument(
        "--wait-s", type=float, default=10.0, metavar="S", help="wait for running servers (default: 10)"
    )
    _add_journal(forget)
    forget.add_argument("--format", choices=("table", "json"), default="table", help="output format (default: table)")


def _add(commands: Any, name: str, text: str, epilog: str, run: Callable[[Namespace], int]) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_choice(command: argparse.ArgumentParser) -> None:
    command.add_argument("--version", type=_positive, metavar="N", help="rows of this version (default: all)")
    command.add_argument("--since", type=_time, metavar="TIME", help="rows whose time is this or later")
    command.add_argument("--until", type=_time, metavar="TIME", help="rows whose time is before this")


def _add_journal(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--journal", action="append", type=Path, metavar="DIR", default=None,
        help="the journal; repeat it for several (default: SKYLANE_JOURNAL, or ./journal)",
    )  # fmt: skip


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, received {text}")
    return number


def _time(text: str) -> Any:
    try:
        return parse_time(text, time.time())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_positive.__name__ = "whole number"
