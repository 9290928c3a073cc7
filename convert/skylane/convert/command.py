"""`skylane convert`: a pipeline's file → a published version. Reads the command line; the work is `publish`'s."""

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
from skylane.convert.verification.batch_mix import batches_of
from skylane.convert.verification.choose import preset_of
from skylane.convert.verification.target import check_target

DESCRIPTION = """\
Convert a fitted scikit-learn pipeline to an ONNX graph, verify that its answers match
the pipeline's, and publish it as the next version of a model.

Several graphs are tried: from Skylane's own emitters and from skl2onnx, in single and
double precision, with half-precision weights, and quantized to int8. Each is compared
with scikit-learn on your held-out rows, in batches of several sizes, and on rows derived
from them: missing values, infinities, unseen texts, ends of ranges, large integers, and
numbers at thresholds. The fastest graph within the tolerance is published; by default,
times for 1 row and for 64 rows have equal weight (--batches). If no graph is within the
tolerance, nothing is published, and the reasons are printed."""

EPILOG = """\
tolerances (largest difference of a number; share of labels that may change):
  exact      1e-6, none       single precision reaches it for most trees
  close      1e-3, 0.1%       the default: rounding errors only
  quantized  0.25, 2%         for int8; quantized:0.01 allows a loss of 0.01 in accuracy
                              or R². At and beyond the ends of the sample's ranges,
                              differences may be larger
  With --target, the loss of accuracy or R² may be at most 0.005, or the given value.
  For predictions and scores, differences are measured in standard deviations.

files that run code:
  A skops file names its types, so they can be checked before any object is created:
  types that are not known to be harmless are refused and listed. Pickle and joblib files
  are programs. With --trust they run in a separate process, without network where the
  system supports that; the manifest records it. They can still read and write your files.

examples:
  skylane convert pipeline.skops --name churn --data held_out.csv --target churned
  skylane convert pipeline.skops --name churn --data held_out.parquet --training train.parquet
  skylane convert net.skops --name digits --data held_out.npz --tolerance quantized
  skylane convert old.pkl --trust --name churn --data held_out.csv

exit codes: 0 published, or already there; 2 wrong arguments or files; 3 not trusted;
  4 no graph exists for this pipeline; 5 outside the tolerance; 6 repository not writable"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and publish one pipeline. Returns the exit code; raises SystemExit for wrong arguments."""
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
        reporter.failed("stopped; nothing was published")
        return 130
    return 0


def _run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    versions(arguments.models, arguments.name)  # a name that cannot be fails before the work, not after it
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
    """The rows of a training file; None if there is none, or it is of a kind that is not read here."""
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
    parser.add_argument("--target", metavar="COLUMN", help="column with the truth: limits the loss of accuracy or R²")
    parser.add_argument("--explain", action="store_true", help="print the graph's nodes, each with its pipeline step")
    parser.add_argument("--models", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
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
        help="batch sizes that callers send, optionally with shares: 1:80,64:20 (default: %(default)s)",
    )
    gate.add_argument(
        "--quantize",
        choices=("auto", "never", "require"),
        default="auto",
        help="int8: if it is faster (auto, the default), never, or required",
    )
    gate.add_argument("--force", action="store_true", help="publish the closest graph even outside the tolerance")
    trust = parser.add_argument_group("trust")
    trust.add_argument(
        "--trust-types",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        default=[],
        metavar="A,B",
        help="additional types to trust in a skops file",
    )
    trust.add_argument(
        "--trust", action="store_true", help="allow the file to run any code; required for pickle and joblib files"
    )
    record = parser.add_argument_group("recorded in the manifest")
    record.add_argument(
        "--training",
        type=Path,
        metavar="FILE",
        help="training data: records its SHA-256, and histograms of its columns for drift",
    )
    record.add_argument(
        "--metric",
        type=_metric,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a metric of your own, such as auc=0.81; may be repeated",
    )
    return parser


class _Once(argparse.Action):
    """An option that may be given once: earlier releases used these names for different data."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string}: held-out rows are given once; pass training data with --training")
        setattr(namespace, self.dest, values)


def _checked(read: Callable[[str], object]) -> Callable[[str], str]:
    """A type for argparse that validates an argument before any file is loaded."""

    def checked(text: str) -> str:
        try:
            read(text)
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
