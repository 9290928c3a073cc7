"""The command `skylane features`: checks views, joins training rows, fills the online store and shows values."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from skylane.features.authoring.project import check
from skylane.features.compiled import CompiledView
from skylane.features.compiled.project import read_views, select
from skylane.features.compiled.views import ON_DEMAND, WINDOW
from skylane.features.errors import FeatureError
from skylane.features.evaluation.rows import STATUSES
from skylane.features.online import Served, Store
from skylane.features.online.keys import key_text
from skylane.features.training.joining import AT
from skylane.features.training.joining_files import write_join
from skylane.features.training.materializing import materialize
from skylane.times import EPOCH, read_time

OK, UNUSABLE, UNWRITABLE = 0, 2, 6
STORE: Final = "features.db"

EPILOG: Final = """\
examples:
  skylane features check
  skylane features join labels.parquet --views planes,delays --out train.parquet
  skylane features materialize planes delays
  skylane features get planes N14228

Views are Python files below views/. `check` runs them and writes views/views.json; the other
commands read that file alone. The exit code is 0 if all went well; 2 if the arguments, the views
or the data cannot be used; 6 if a file cannot be written."""


def main(argv: Sequence[str]) -> int:
    """Run a subcommand and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        _COMMANDS[options.command](options)
    except (FeatureError, ValueError) as error:
        print(f"skylane features {options.command}: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(f"skylane features {options.command}: {error.filename}: {error.strerror}", file=sys.stderr)
        return UNWRITABLE
    return OK


def _check(options: argparse.Namespace) -> None:
    for view in check(options.directory):
        names = ", ".join(feature.name for feature in view.features)
        print(f"{view.name}  {view.kind.replace('_', '-')}  {view.hash[:12]}  {names}")
        if view.source is not None and view.known_at is None:
            print(f"{view.name}: its rows count from {view.happened_at} on, because it says known='event'")


def _join(options: argparse.Namespace) -> None:
    views = select(read_views(options.directory), options.views)
    if options.time_zone is not None:
        _check_zone(options.time_zone)
    began, done = time.monotonic(), 0

    def progress(view: str) -> None:
        nonlocal done
        done += 1
        print(f"{done}/{len(views)} views: {view}", file=sys.stderr)

    joined = write_join(
        options.labels, views, options.out, _root(options), at=options.at, time_zone=options.time_zone,
        progress=progress,
    )  # fmt: skip
    for name, counts in joined.counts.items():
        if not counts.source_rows:
            continue  # on-demand
        print(
            f"{name}: {counts.rows:,} rows, {counts.absent:,} without a known row, "
            f"{counts.expired:,} older than the ttl; "
            f"source: {counts.source_rows:,} rows, {counts.skipped_source_rows:,} without a key or an instant"
        )
    print(f"{options.out}: {len(joined.table):,} rows in {time.monotonic() - began:.1f} s")


def _materialize(options: argparse.Namespace) -> None:
    views = read_views(options.directory)
    chosen = select(views, options.views) if options.views else [view for view in views if view.kind != ON_DEMAND]
    _refuse_on_demand(chosen)
    instant = _instant("as-of", options.as_of)
    with Store(options.store, create=True) as store:
        for view in chosen:
            done = materialize(store, view, instant, _root(options))
            print(
                f"{view.name}: {done.entities:,} entities of {done.source_rows:,} rows "
                f"({done.skipped_source_rows:,} without a key or an instant), as known at {_shown(instant)}"
            )


def _get(options: argparse.Namespace) -> None:
    (view,) = select(read_views(options.directory), [options.view])
    _refuse_on_demand([view])
    if len(options.key) != len(view.entity):
        raise ValueError(f"{view.name}: expected {' '.join(view.entity)}, received {' '.join(options.key)}")
    instant = _instant("at", options.at)
    with Store(options.store) as store:
        served = store.get(view, [key_text(options.key)], instant)
    values = {name: _plain(column[0]) for name, column in served.features.items()}
    if options.format == "json":
        happened = _shown(int(served.happened[0])) if served.happened[0] else None
        status = STATUSES[int(served.status[0])]
        form = {"view": view.name, "hash": view.hash, "status": status, "values": values, "happened_at": happened}
        print(json.dumps(form | {"materialised_at": _shown(served.materialised_at)}, indent=1))
        return
    print(f"{view.name} {' '.join(options.key)}: {_status(view, served, instant)}")
    for name, value in values.items():
        print(f"  {name} = {'missing' if value is None else value}")
    ago = timedelta(seconds=(instant - served.materialised_at) // 1_000_000)
    print(f"materialised with what was known at {_shown(served.materialised_at)}, {ago} ago")


def _status(view: CompiledView, served: Served, instant: int) -> str:
    ttl = timedelta(microseconds=view.ttl_us or 0)
    if view.kind == WINDOW:
        return "expired: materialised longer ago than the ttl, " + str(ttl) if served.status[0] else "ok"
    status = STATUSES[int(served.status[0])]
    if status == "absent":
        return "absent: no row of this key was known"
    age = timedelta(seconds=(instant - int(served.happened[0])) // 1_000_000)
    return f"{status}, of {_shown(int(served.happened[0]))}, {age} old; ttl {ttl}"


def _plain(value: object) -> float | str | None:
    if isinstance(value, str) or value is None:
        return value
    number = float(value)  # type: ignore[arg-type]  # what is no text is a number
    return None if math.isnan(number) else number


def _refuse_on_demand(views: Sequence[CompiledView]) -> None:
    for view in views:
        if view.kind == ON_DEMAND:
            raise ValueError(f"{view.name}: an on-demand view is computed from the request and not stored")


def _root(options: argparse.Namespace) -> Path:
    """The directory that relative paths of sources are below: that which holds views/."""
    return Path(options.directory).resolve().parent


def _instant(name: str, text: str | None) -> int:
    if text is None:
        return (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1)
    return read_time(name, text)


def _shown(instant: int) -> str:
    return (EPOCH + timedelta(microseconds=instant)).isoformat().replace("+00:00", "Z")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"time-zone: expected the name of a time zone, such as Europe/Berlin, received {name!r}"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane features", usage="skylane features COMMAND [options]", epilog=EPILOG,
        description="One definition of a feature for training rows and for the online store.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    checking = commands.add_parser("check", help="check the views and compile them to data")
    checking.add_argument("directory", nargs="?", default="views", metavar="DIR", help="default: views")
    joining = commands.add_parser("join", help="add the values that were known at each row's instant")
    joining.add_argument("labels", metavar="FILE", help="Parquet or CSV, with the keys of the entities and a time")
    joining.add_argument("--views", required=True, type=_names, metavar="NAME,…", help="which views, in this order")
    joining.add_argument("--out", required=True, metavar="FILE", help="the Parquet file to write")
    joining.add_argument("--at", default=AT, metavar="COLUMN", help=f"the instant of each row (default: {AT})")
    joining.add_argument("--time-zone", metavar="ZONE", help="what clocks its times without a zone show")
    filling = commands.add_parser("materialize", help="put what is known now into the online store")
    filling.add_argument("views", nargs="*", metavar="VIEW", help="default: all views with a source")
    filling.add_argument("--as-of", metavar="TIME", help="store what was known then, with a zone (default: now)")
    getting = commands.add_parser("get", help="show what would be served for an entity, and how old it is")
    getting.add_argument("view", metavar="VIEW")
    getting.add_argument("key", nargs="+", metavar="KEY", help="the entity's key, one word for each of its columns")
    getting.add_argument("--at", metavar="TIME", help="at this instant, with a zone (default: now)")
    getting.add_argument("--format", choices=("text", "json"), default="text")
    for command in (joining, filling, getting):
        command.add_argument("--directory", default="views", metavar="DIR", help="the views (default: views)")
    for command in (filling, getting):
        command.add_argument("--store", default=STORE, metavar="FILE", help=f"the online store (default: {STORE})")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "check": _check,
    "join": _join,
    "materialize": _materialize,
    "get": _get,
}
