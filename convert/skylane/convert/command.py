"""The command `skylane convert`: parses its arguments, converts the pipeline in a file, and publishes it."""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from skylane.convert.console import Reporter
from skylane.convert.errors import BadArgument, ConversionError, Unreadable
from skylane.convert.inspection.structure import text_columns
from skylane.convert.loading.pipeline_file import load
from skylane.convert.loading.rows_file import holds_rows, read_sample
from skylane.convert.loading.sandbox import how_loaded, run_apart
from skylane.convert.publishing.publish import convert_pipeline
from skylane.convert.publishing.store import versions
from skylane.convert.publishing.times import block_seconds
from skylane.convert.verification.batch_mix import batches_of
from skylane.convert.verification.choose import preset_of
from skylane.convert.verification.target import check_target

DESCRIPTION = """\
Convert a fitted scikit-learn pipeline to an ONNX graph, verify that it gives the same
answers, and publish it as the next version of a model.

Several candidate graphs are built: by Skylane's own emitters and by skl2onnx, in single
and double precision, with half-precision weights, and quantized to int8. Each is compared
with scikit-learn on your held-out rows, in batches of several sizes, and on edge cases
derived from them: missing values, infinities, unseen texts, ends of ranges, large
integers, and numbers at thresholds. The fastest candidate within the tolerance is
published; by default, the times for 1 row and for 64 rows have equal weight (--batches).
If no candidate is within the tolerance, nothing is published, and the error lists the
reasons."""

EPILOG = """\
tolerances (largest difference of a number; largest share of labels that change):
  exact      1e-6, none       rounding of single precision; most trees achieve it
  close      1e-3, 0.1%       the default: rounding errors that do not affect decisions
  quantized  0.25, 2%         for int8; quantized:0.01 allows a loss of 0.01 of accuracy
                              or R². Values at or beyond the ends of the sample's ranges
                              are not held to it
  With --target, accuracy or R² may drop by 0.005, or by the limit given as above.
  For predictions and scores, differences are measured in standard deviations.

files that can run code:
  A skops file lists the types in it, so they are checked before any object is created;
  types that are not known to be safe are refused. Loading a pickle or joblib file can run
  any code. With --trust such a file is loaded in a separate process, without network
  access where the system supports that; the manifest records it. The process can still
  read and write your files.

examples:
  skylane convert pipeline.skops --name churn --data held_out.csv --target churned
  skylane convert pipeline.skops --name churn --data held_out.parquet --training train.parquet
  skylane convert net.skops --name digits --data held_out.npz --tolerance quantized
  skylane convert old.pkl --trust --name churn --data held_out.csv

exit codes: 0 published, or already published; 2 invalid arguments or files;
  3 file not trusted; 4 pipeline cannot be converted; 5 outside the tolerance;
  6 repository not writable"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and publish one pipeline. Returns the exit code; raises SystemExit for invalid arguments."""
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(argv)
    if arguments.trust and how_loaded() is None:
        return run_apart("skylane.convert", argv)
    reporter = Reporter()
    try:
        _run(arguments, reporter)
    except ConversionError as error:
        reporter.failed(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        reporter.failed("interrupted; nothing was published")
        return 130
    return 0


def _run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    versions(arguments.models, arguments.name)  # an invalid name fails before the work, not after it
    with reporter.working(arguments.name):
        reporter.say(f"loading {arguments.pipeline}")
        loaded = load(arguments.pipeline, trust=arguments.trust, trust_types=arguments.trust_types)
        for note in loaded.notes:
            reporter.note(note)
        if arguments.target is not None:
            check_target(loaded.estimator, arguments.target)
        rows, target = read_sample(arguments.data, arguments.target, text_columns(loaded.estimator))
        report = convert_pipeline(
            loaded.estimator,
            rows,
            target=target,
            training=_training_rows(arguments.training, loaded.estimator),
            times=arguments.time,
            timezone=arguments.timezone,
            block=arguments.block,
            tolerance=arguments.tolerance,
            quantize=arguments.quantize,
            batches=arguments.batches,
            metrics=dict(arguments.metric),
            data_sha256=_data_sha256(arguments.training),
            pipeline_sha256=loaded.sha256,
            loaded=loaded.how,
            force=arguments.force,
            say=reporter.say,
        )
        reporter.say("publishing")
        published = report.publish(arguments.name, arguments.models)
    if arguments.trust:
        reporter.note(f"loaded as {loaded.how}")
    if arguments.explain:
        reporter.explained(report.explain())
    reporter.published(published)


def _training_rows(path: Path | None, estimator: Any) -> Any:
    """The rows of the training file; None without a file, or if its format is not one of those for rows."""
    if path is None or not holds_rows(path):
        return None
    return read_sample(path, None, text_columns(estimator))[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane convert",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pipeline",
        type=Path,
        metavar="PIPELINE",
        help="the fitted pipeline: a .skops file; pickle or joblib with --trust",
    )
    parser.add_argument("--name", required=True, help="the model's name in the repository")
    parser.add_argument(
        "--data",
        "--rows",
        action=_Once,
        type=Path,
        required=True,
        metavar="FILE",
        help="held-out rows: .csv, .parquet or .arrow for data frames, .npz with X (and y) for arrays",
    )
    parser.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column of true values in the data; accuracy or R² is then verified as well",
    )
    parser.add_argument(
        "--explain", action="store_true", help="print the graph's nodes, each with the pipeline step it comes from"
    )
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (default: %(default)s)"
    )
    for add in (_add_acceptance, _add_trust, _add_record):
        add(parser)
    return parser


def _add_acceptance(parser: argparse.ArgumentParser) -> None:
    gate = parser.add_argument_group("acceptance")
    gate.add_argument(
        "--tolerance",
        type=_checked(preset_of),
        default="close",
        metavar="NAME",
        help="exact, close (the default), quantized or quantized:DROP",
    )
    gate.add_argument(
        "--batches",
        type=_checked(batches_of),
        default="1,64",
        metavar="SIZES",
        help="batch sizes to optimize for, with or without weights, such as 1:80,64:20 (default: %(default)s)",
    )
    gate.add_argument(
        "--quantize",
        choices=("auto", "never", "require"),
        default="auto",
        help="int8 if it is the fastest (auto, the default), never, or only int8 (require)",
    )
    gate.add_argument(
        "--force", action="store_true", help="publish the most accurate graph even if it is outside the tolerance"
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    trust = parser.add_argument_group("trust")
    trust.add_argument(
        "--trust-types",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        default=[],
        metavar="A,B",
        help="types in the skops file to trust although skops does not know them",
    )
    trust.add_argument(
        "--trust", action="store_true", help="allow the file to run any code; required for pickle and joblib files"
    )


def _add_record(parser: argparse.ArgumentParser) -> None:
    record = parser.add_argument_group("recorded in the manifest")
    record.add_argument(
        "--training",
        type=Path,
        metavar="FILE",
        help="the training data: its SHA-256 and, for drift detection, histograms of its columns are recorded",
    )
    record.add_argument(
        "--time",
        metavar="COLUMN",
        help="the column of the training data (of the held-out rows without it) that says when each row happened; "
        "drift is then judged by what blocks of time of these rows look like",
    )
    record.add_argument("--timezone", metavar="ZONE", help="of times without one, such as Europe/Zurich or UTC")
    record.add_argument(
        "--block", type=_checked(block_seconds), default="1d", metavar="LENGTH",
        help="length of a block: 1d (the default), 6h, 15m",
    )  # fmt: skip
    record.add_argument(
        "--metric",
        type=_metric,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a metric that you measured, such as auc=0.81; may be repeated",
    )


class _Once(argparse.Action):
    """An option that may be given once. --rows and --data, which are the same, once had different meanings."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string}: the held-out rows are given twice; for training data use --training")
        setattr(namespace, self.dest, values)


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """An argument type that validates with `parse`, so that a wrong value is refused before any file is loaded."""

    def checked(text: str) -> str:
        try:
            parse(text)
        except BadArgument as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return checked


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE with a number, such as auc=0.81, not {text!r}") from None


def _data_sha256(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
