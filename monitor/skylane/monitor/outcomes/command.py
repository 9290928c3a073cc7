"""`skylane outcomes`: adds outcomes from files, lists and shows them, and drops what a sender has recorded."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from skylane import outcomes
from skylane.cli.tables import table as text_table
from skylane.client.errors import SkylaneError
from skylane.journal import JournalError, layout
from skylane.journal.layout import OUTCOMES, PREDICTIONS
from skylane.monitor.instants import utc_midnight
from skylane.monitor.outcomes.adding import Added, add_to_directory, add_to_server
from skylane.monitor.outcomes.files import OutcomeFile, UnusableFile, read
from skylane.outcomes import OutcomeStore, resolve
from skylane.times import EPOCH, read_time

REFUSALS_SHOWN: Final = 20

EPILOG: Final = """\
examples:
  skylane outcomes add landed.csv --model flights_late --journal journal
  skylane outcomes add landed.parquet --model flights_late --server localhost:8500 \\
      --id prediction --label arr_late --known-at landed --timezone America/New_York
  skylane outcomes ls --journal journal
  skylane outcomes show flights_late --journal journal --known-by 2013-05-03T18:00:00Z
  skylane outcomes drop --token airline --since 2013-05-03T00:00:00Z --journal journal
"""
COLUMNS: Final = {
    "id": "prediction_id", "row": "row", "entity": "entity", "event-at": "event_at", "label": "label",
    "value": "value", "happened-at": "happened_at", "known-at": "known_at",
}  # fmt: skip
"""Option of `add` → field."""


class _Unusable(Exception):
    """The arguments cannot be used."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 success, 1 something was refused, 2 usage error."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except (_Unusable, UnusableFile, ValueError) as error:
        print(f"skylane outcomes {options.command}: {error}", file=sys.stderr)
        return 2
    except (SkylaneError, JournalError, OSError) as error:
        print(f"skylane outcomes {options.command}: {error}", file=sys.stderr)
        return 1


def _add(options: argparse.Namespace) -> int:
    """Add the outcomes of a file."""
    names = {
        name: column for option, name in COLUMNS.items() if (column := vars(options)[f"{name}_column"]) is not None
    }
    file = read(options.file, names, options.timezone)
    if options.server is not None:
        added = add_to_server(options, file)
    else:
        directory = _directory(options)
        if options.model not in layout.models(directory, PREDICTIONS):
            print(f"skylane outcomes add: {directory} has no predictions of {options.model!r} yet", file=sys.stderr)
        added = add_to_directory(directory, options.model, file)
    _print_added(options, file, added)
    return 1 if added.refused else 0


def _print_added(options: argparse.Namespace, file: OutcomeFile, added: Added) -> None:
    if file.ignored:
        print(f"skylane outcomes add: ignored columns: {', '.join(file.ignored)}", file=sys.stderr)
    counts = f"{added.accepted} outcomes of {options.model} are recorded"
    details = {"repeated": added.repeated, "corrected": added.corrected, "with unknown ids": added.unknown}
    shown = ", ".join(f"{count} {name}" for name, count in details.items() if count)
    print(f"{counts} ({shown})" if shown else counts)
    if added.refused:
        print(f"{added.refused} are refused:", file=sys.stderr)
        for row, reason in added.refusals[:REFUSALS_SHOWN]:
            print(f"  row {row + 1}: {reason}", file=sys.stderr)
        if added.refused > REFUSALS_SHOWN:
            print(f"  and {added.refused - REFUSALS_SHOWN} more", file=sys.stderr)


def _ls(options: argparse.Namespace) -> int:
    """List the models that have outcomes, with what became of the records."""
    directory = _directory(options)
    rows: list[list[Any]] = []
    for model in layout.models(directory, OUTCOMES):
        log = outcomes.read_log(directory, model)
        counts = resolve(log).counts
        senders = sorted(set(log["sender"].unique().to_pylist()))
        rows.append(
            [
                model, counts.outcomes, counts.records, counts.repeated, counts.corrected, counts.conflicting,
                counts.late, counts.dropped, ", ".join(senders),
            ]
        )  # fmt: skip
    if not rows:
        print(f"{directory} has no outcomes: add some with `skylane outcomes add`")
        return 0
    header = ["MODEL", "OUTCOMES", "RECORDS", "REPEATED", "CORRECTED", "CONFLICTING", "LATE", "DROPPED", "SENDERS"]
    print(text_table(header, rows))
    return 0


def _show(options: argparse.Namespace) -> int:
    """Show the outcomes of a model as of two instants."""
    directory = _directory(options)
    _check_model(directory, options.model)
    found = outcomes.read(directory, options.model, known_by=options.known_by, recorded_by=options.recorded_by)
    rows = found.to_pylist()
    if options.id is not None:
        rows = [row for row in rows if row["prediction_id"] == options.id]
    if options.entity is not None:
        rows = [row for row in rows if row["entity"] == options.entity]
    shown = [{name: _text(value) for name, value in row.items()} for row in rows[: options.limit]]
    if options.format == "json":
        for row in shown:
            print(json.dumps(row))
    elif options.format == "csv":
        writer = csv.DictWriter(sys.stdout, found.column_names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown)
    else:
        header = [name.upper() for name in found.column_names]
        print(text_table(header, [[_printable(value) for value in row.values()] for row in shown]))
    if len(rows) > len(shown):
        print(f"{len(rows) - len(shown)} more: show them with --limit", file=sys.stderr)
    return 0


def _printable(value: Any) -> Any:
    """A value of a stranger for a terminal: control characters are escaped."""
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape").decode()
    return "" if value is None else value


def _text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _drop(options: argparse.Namespace) -> int:
    """Undo what a sender has recorded."""
    directory = _directory(options)
    if options.model is not None:
        _check_model(directory, options.model)
    models = layout.models(directory, OUTCOMES) if options.model is None else [options.model]
    senders = {model: set(outcomes.read_log(directory, model)["sender"].unique().to_pylist()) for model in models}
    if not any(options.token in each for each in senders.values()):
        there = ", ".join(sorted(set().union(*senders.values()))) or "none"
        raise _Unusable(f"--token: there are no outcomes of {options.token!r}; the senders are {there}")
    store, dropped = OutcomeStore(directory), 0
    try:
        for model in (model for model in models if options.token in senders[model]):
            before = resolve(outcomes.read_log(directory, model)).counts.dropped
            store.drop(model, options.token, options.since)
            dropped += resolve(outcomes.read_log(directory, model)).counts.dropped - before
    finally:
        store.close()
    print(f"{dropped} records of {options.token} are dropped; reports of earlier instants still have them")
    return 0


def _directory(options: argparse.Namespace) -> Path:
    directory: Path = options.journal
    if not directory.is_dir():
        raise _Unusable(f"--journal: there is no directory {directory}")
    return directory


def _check_model(directory: Path, model: str) -> None:
    known = layout.models(directory, OUTCOMES)
    if model not in known:
        raise _Unusable(f"{directory} has no outcomes of {model!r}; it has those of {', '.join(known) or 'no model'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane outcomes",
        description="Record what became true after predictions, and show it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_parser(commands)
    ls = commands.add_parser("ls", help="list the models that have outcomes", description=_ls.__doc__)
    ls.set_defaults(run=_ls)
    show = commands.add_parser("show", help="show the outcomes of a model", description=_show.__doc__)
    show.add_argument("model", metavar="MODEL")
    show.add_argument("--id", metavar="ID", help="those of this prediction")
    show.add_argument("--entity", metavar="TEXT", help="those of this entity")
    show.add_argument("--known-by", type=_instant, metavar="TIME", help="as senders knew it then")
    show.add_argument("--recorded-by", type=_instant, metavar="TIME", help="as it was recorded here then")
    show.add_argument("--limit", type=int, default=50, metavar="N", help="rows to show (default: 50)")
    show.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    show.set_defaults(run=_show)
    drop = commands.add_parser("drop", help="undo what a sender has recorded", description=_drop.__doc__)
    drop.add_argument("--token", required=True, metavar="NAME", help="the name of the token, or a sender of `ls`")
    drop.add_argument("--since", type=_instant, metavar="TIME", help="what was recorded from then on (default: all)")
    drop.add_argument("--model", metavar="MODEL", help="of this model (default: all)")
    drop.set_defaults(run=_drop)
    for command in (ls, show, drop):
        command.add_argument("--journal", type=Path, required=True, metavar="DIR", help="the journal's directory")
    return parser


def _add_parser(commands: Any) -> None:
    add = commands.add_parser("add", help="add the outcomes of a file", description=_add.__doc__)
    add.add_argument("file", type=Path, metavar="FILE", help="CSV with column names in its first line, or .parquet")
    add.add_argument("--model", required=True, metavar="MODEL", help="the model that made the predictions")
    where = add.add_mutually_exclusive_group(required=True)
    where.add_argument("--journal", type=Path, metavar="DIR", help="add to this journal's directory")
    where.add_argument("--server", metavar="HOST:PORT", help="send to this server's gRPC port")
    columns = add.add_argument_group("columns (default: those with the fields' own names)")
    for option, name in COLUMNS.items():
        columns.add_argument(f"--{option}", dest=f"{name}_column", metavar="COLUMN", help=f"the column of {name}")
    add.add_argument(
        "--timezone", type=_zone, metavar="ZONE", help="zone of times without one, for example America/New_York"
    )
    server = add.add_argument_group("with --server")
    server.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default: 60)")
    server.add_argument(
        "--token",
        metavar="TEXT",
        default=os.environ.get("SKYLANE_TOKEN", ""),
        help="a bearer token with the action outcome (default: SKYLANE_TOKEN, which hides it from other users)",
    )
    server.add_argument("--tls", action="store_true", help="connect with TLS")
    server.add_argument("--tls-ca", type=Path, metavar="FILE", help="trust the certificates in this PEM file")
    add.set_defaults(run=_add)


def _instant(text: str) -> datetime:
    try:
        return utc_midnight(text) or EPOCH + timedelta(microseconds=read_time("TIME", text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("TIME: ")) from error


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"expected a zone such as America/New_York or UTC, received {text!r}"
        ) from error
