"""The command `skylane score`: scores files with a published version, without a server."""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from skylane.score.console import Reporter
from skylane.score.frames import repeated_names
from skylane.score.journalled import PREFIX, JournalSource
from skylane.score.layout import layout
from skylane.score.listing import sources
from skylane.score.row_sources import Source
from skylane.score.run import Summary, run
from skylane.score.scorer import Scorer
from skylane.score.selection import ScoreError, select
from skylane.server.host.budget import cpu_budget
from skylane.times import EPOCH, read_time

ALL_SCORED, SOME_REJECTED, UNUSABLE, UNWRITABLE, INTERRUPTED = 0, 3, 2, 6, 130

DESCRIPTION: Final = """\
Score files with a published version: each row gets the answers that the server would
give, as further columns. IN is a Parquet, CSV or Arrow file, a directory with all files
below it, or a glob in quotes; directories such as carrier=UA/ are columns. OUT is a
directory that gets a file for each file of IN, or one file.

Columns are matched by name, by the server's rules; others are copied. Rows that the model
does not take are written to OUT/_rejected with the reason. A run that was interrupted
continues where it ended when it is started again, and ends with the same files."""

EPILOG: Final = """\
examples:
  skylane score flights.parquet scored.parquet --model flights_late
  skylane score lake/flights scored --model flights_late@3 --columns flight,day
  skylane score journal:wine then.parquet --journal journal --version 7 --since 2026-11-01T00:00Z
  skylane score 'in/2024-*.csv' scored --model wine:stable --format parquet

The exit code is 0 if every row was answered; 3 if rows were rejected; 2 if the arguments,
the model or the data cannot be used; 6 if OUT cannot be written; 130 after Ctrl-C."""


def main(argv: Sequence[str]) -> int:
    """Score files and return the exit code."""
    options = _parser().parse_args(argv)
    reporter = Reporter(quiet=options.quiet)
    try:
        with reporter:
            summary = _run(options, reporter)
    except ScoreError as error:
        print(f"skylane score: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(f"skylane score: {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
        return UNWRITABLE
    except KeyboardInterrupt:
        print("skylane score: interrupted; start it again to continue", file=sys.stderr)
        return INTERRUPTED
    reporter.finish(summary, options.output)
    return SOME_REJECTED if summary.rejected else ALL_SCORED


def _run(options: argparse.Namespace, reporter: Reporter) -> Summary:
    reference = _reference(options)
    chosen = select(reference, options.models)
    try:
        scorer = Scorer.load(reference, options.models, features=options.features, prefix=options.prefix)
    except OSError as error:
        raise ScoreError(f"model: {error.filename or options.models}: it cannot be read: {error.strerror}") from error
    if options.exact and not scorer.is_exact:
        raise ScoreError(
            f"exact: an answer of {scorer.name} depends on the rows beside it, because its values are quantized by the "
            "range of a batch: score without --exact, or convert the pipeline with --tolerance close"
        )
    planned, files = layout(_sources(options, scorer), options.output, options.format)
    return run(
        scorer, chosen, files, planned, workers=options.workers, progress=reporter, columns=options.columns,
        features=options.features, prefix=options.prefix, restart=options.restart,
    )  # fmt: skip


def _reference(options: argparse.Namespace) -> str:
    """Which version scores: of a journal by default that of its own model which the server would answer with."""
    model = options.model or (options.input.removeprefix(PREFIX) if options.input.startswith(PREFIX) else None)
    if model is None:
        raise ScoreError("model: expected --model NAME, NAME@VERSION or NAME:LABEL, received none")
    if options.version is None:
        return str(model)
    if "@" in model or ":" in model or "/" in model:
        raise ScoreError(f"version: expected --model NAME beside --version, received {model!r}")
    return f"{model}@{options.version}"


def _sources(options: argparse.Namespace, scorer: Scorer) -> Sequence[Source]:
    if not options.input.startswith(PREFIX):
        if options.journal or options.since or options.until:
            raise ScoreError("journal: --journal, --since and --until are for an input such as journal:wine")
        return sources(options.input, options.output)
    if not options.journal:
        raise ScoreError(f"journal: expected --journal DIR beside {options.input}, received none")
    model = options.input.removeprefix(PREFIX)
    return [
        JournalSource(
            tuple(options.journal), model, scorer.inputs, f"{model}.parquet", options.since, options.until
        )
    ]  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane score", usage="skylane score IN OUT --model NAME [options]",
        description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("input", metavar="IN", help="file, directory or glob")
    parser.add_argument("output", metavar="OUT", help="directory or file")
    parser.add_argument("--model", metavar="NAME", help="NAME, NAME@VERSION or NAME:LABEL (default: as the server)")
    parser.add_argument("--version", type=int, default=None, metavar="N", help="the same as NAME@N")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="repository (default: models)"
    )
    parser.add_argument(
        "--columns", type=_columns, default=None, metavar="LIST",
        help="columns of IN to copy: all (default), none, or names with commas between them",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=_names, default=(), metavar="LIST",
        help="columns that make up the tensor of a model without named columns, in order",
    )  # fmt: skip
    journal = parser.add_argument_group("for journal:MODEL")
    journal.add_argument("--journal", action="append", type=Path, metavar="DIR", help="a journal; may be repeated")
    journal.add_argument("--since", type=_instant, metavar="TIME", help="rows from this time on, with its zone")
    journal.add_argument("--until", type=_instant, metavar="TIME", help="rows before this time")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="put before the names of the answers' columns")
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "arrow"),
        default=None,
        help="of the outputs (default: that of the input)",
    )
    cpus = cpu_budget().workers
    parser.add_argument(
        "--workers",
        type=_workers,
        default=cpus,
        metavar="N",
        help=f"threads that score (default: {cpus}, one for each CPU)",
    )
    parser.add_argument(
        "--exact", action="store_true", help="refuse a version whose answer to a row depends on the rows beside it"
    )
    parser.add_argument("--restart", action="store_true", help="score all of it again, whatever OUT holds")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _columns(text: str) -> tuple[str, ...] | None:
    names = _names(text)
    if repeated := repeated_names(names):
        raise argparse.ArgumentTypeError(f"expected each column once, received {repeated[0]!r} twice")
    return {"all": None, "none": ()}.get(text, names)


def _instant(text: str) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=read_time("time", text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"expected 1 to 256, received {number}")
    return number


_workers.__name__ = "whole number"  # argparse names the type in its message
