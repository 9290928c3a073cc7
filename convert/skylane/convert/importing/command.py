"""`skylane import`: models of other servers and tools → published versions. Reads the command line."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from skylane.convert.errors import BadArgument, ConversionError
from skylane.convert.importing import report as reports
from skylane.convert.importing.copying import version_number
from skylane.convert.importing.mlflow import UNNAMED, MlflowModel, is_mlflow, read_mlflow
from skylane.convert.importing.sample import Rows, Sample, fitted, read_rows
from skylane.convert.importing.triton import ModelReport, import_model, import_repository, is_model, write_policy
from skylane.convert.importing.version import ImportedVersion, RowsOf, Source, import_graph
from skylane.convert.publishing.store import versions
from skylane.manifest import TensorSpec

DESCRIPTION: Final = """\
Publish models that were made elsewhere: an ONNX file of any library, a Triton model
repository, or a model that MLflow saved.

The graph's own inputs and outputs become the interface. It is run on your rows, or on
random ones: rows must get the same answers alone and in a batch, because requests of
several callers share batches. The answers are kept, and a server that gives others
refuses the version. Where needed the graph is changed: weights in files beside it are
embedded, a ZipMap becomes a tensor with a column for each class, and a batch dimension
of a fixed size is opened."""

EPILOG: Final = """\
what is imported:
  FILE.onnx     one graph; --name says as which model
  DIRECTORY     with MLmodel: MLflow's onnx flavor as it is, its sklearn flavor converted
                with config.pbtxt, or VERSION/model.onnx: one model of Triton
                with such directories in it: a whole Triton repository. Versions keep
                their numbers, and config.pbtxt becomes model.toml; what cannot be kept
                is listed

examples:
  skylane import model.onnx --name churn --sample rows.csv
  skylane import triton-repository/ --models models
  skylane import triton-repository/ --models models --sample rows/   # rows/<model>.npz
  skylane import mlruns/1/models/m-4a/artifacts --name churn

exit codes: 0 published, or already there; 2 wrong arguments or files; 3 not trusted;
  4 a graph that cannot be served; 6 repository not writable. Of a Triton repository
  the other models are imported all the same"""

PIPELINE: Final = "a fitted pipeline is converted, by `skylane convert`"
TORCH: Final = "a PyTorch model is exported first, by torch.onnx.export"
KERAS: Final = "a Keras model is converted first, by `python -m tf2onnx.convert --keras`"
OTHER_FILES: Final = {
    ".skops": PIPELINE, ".pkl": PIPELINE, ".pickle": PIPELINE, ".joblib": PIPELINE, ".pt": TORCH, ".pth": TORCH,
    ".keras": KERAS, ".h5": KERAS,
}  # fmt: skip
"""Files that are no graphs → what makes one of them."""

SAMPLES: Final = (".npz", ".parquet", ".csv", ".arrow")
NO_BATCHING: Final = "# Made by skylane import --no-batching.\n[batching]\nmax_batch_rows = 1\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Import and publish. Returns the exit code; raises SystemExit for wrong arguments."""
    options = _parser().parse_args(list(sys.argv[1:] if argv is None else argv))
    try:
        return _import(options)
    except ConversionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: stopped", file=sys.stderr)
        return 130


def _import(options: argparse.Namespace) -> int:
    path: Path = options.path
    if options.sample is not None and not options.sample.exists():
        raise BadArgument(f"--sample {options.sample}: there is no such file or directory")
    if is_mlflow(path):
        return _mlflow(options)
    if path.name == "MLmodel":
        options.path = path.parent
        return _mlflow(options)
    if not path.is_dir():
        return _file(options)
    if (path / "saved_model.pb").exists():
        raise BadArgument(
            f"{path}: a TensorFlow model: convert it first with `python -m tf2onnx.convert --saved-model {path} "
            f"--output model.onnx`, and import that file"
        )
    return _triton(options)


def _file(options: argparse.Namespace) -> int:
    advice = OTHER_FILES.get(options.path.suffix.lower())
    if advice is not None:
        raise BadArgument(f"{options.path}: {advice}")
    name = _named(options)
    rows_of = None if options.sample is None else partial(read_rows, options.sample)
    source = Source("onnx", options.path.name)
    _finish(_graph(options, options.path, name, source, rows_of), options)
    return 0


def _named(options: argparse.Namespace) -> str:
    """The name that was given; one that cannot be fails before the work, not after it."""
    if options.name is None:
        raise BadArgument("--name is missing: as which model is it to be served?")
    name: str = options.name
    versions(options.models, name)
    return name


def _graph(
    options: argparse.Namespace,
    path: Path,
    name: str,
    source: Source,
    rows_of: RowsOf | None,
    columns: Sequence[str] = (),
) -> ImportedVersion:
    return import_graph(
        path,
        name,
        options.models,
        source,
        rows_of=rows_of,
        columns=columns,
        version=options.version,
        batched=not options.no_batching,
        allow_dependent=options.allow_dependent_rows,
    )


def _finish(imported: ImportedVersion, options: argparse.Namespace) -> None:
    out = reports.console()
    reports.show_version(imported, out)
    if options.no_batching:
        out.print(write_policy(options.models / imported.name, NO_BATCHING))


def _mlflow(options: argparse.Namespace) -> int:
    name = _named(options)
    model = read_mlflow(options.path)
    if model.flavor == "sklearn":
        return _pipeline(options, model, name)
    source = Source("mlflow", model.file.relative_to(model.directory).as_posix(), notes=(f"MLflow {model.origin}",))
    sample = None if options.sample else model.sample()
    rows_of: RowsOf | None = None
    if options.sample is not None:
        rows_of = partial(read_rows, options.sample)
    elif sample is not None:
        rows_of = partial(_example_rows, model, sample)
    _finish(_graph(options, model.file, name, source, rows_of, model.columns), options)
    return 0


def _example_rows(model: MlflowModel, sample: Sample, inputs: Sequence[TensorSpec]) -> Rows:
    return fitted(sample, inputs, str(model.directory / (model.example or "")))


def _pipeline(options: argparse.Namespace, model: MlflowModel, name: str) -> int:
    """Convert a fitted pipeline, as `skylane convert` does."""
    from skylane.convert.command import main as convert_main  # scikit-learn and skl2onnx, which graphs do not need

    if options.version is not None or options.no_batching or options.allow_dependent_rows:
        raise BadArgument(
            "--version, --no-batching and --allow-dependent-rows are for graphs; this is a pipeline, which is converted"
        )
    argv = [str(model.file), "--name", name, "--models", str(options.models)]
    argv += ["--trust"] if options.trust else []
    argv += ["--trust-types", options.trust_types] if options.trust_types else []
    if options.sample is not None:
        return convert_main([*argv, "--data", str(options.sample)])
    sample = model.sample()
    if sample is None:
        raise BadArgument("the model has no input example to verify it on: give rows that it takes (--sample)")
    with tempfile.TemporaryDirectory(prefix="skylane-") as directory:
        return convert_main([*argv, "--data", str(_written(sample, Path(directory)))])


def _written(sample: Sample, directory: Path) -> Path:
    """The rows as a file that the converter reads."""
    if not isinstance(sample, pd.DataFrame) and list(sample) == [UNNAMED]:
        path = directory / "input_example.npz"
        np.savez(path, X=sample[UNNAMED])
        return path
    path = directory / "input_example.parquet"
    pd.DataFrame(sample).to_parquet(path)
    return path


def _triton(options: argparse.Namespace) -> int:
    def add(path: Path, name: str, number: int, source: Source, batched: bool) -> ImportedVersion:
        rows_of = _sample_of(options.sample, name)
        batched = batched and not options.no_batching
        allow = options.allow_dependent_rows
        return import_graph(
            path, name, options.models, source, rows_of=rows_of, version=number, batched=batched, allow_dependent=allow
        )

    if options.version is not None:
        raise BadArgument("--version is for a single file: versions of Triton keep their numbers")
    single = is_model(options.path)
    if options.name is not None and not single:
        raise BadArgument("--name is for a single model: those of a repository keep their names")
    out = reports.console()
    done: list[ModelReport] = []
    if single:
        name = options.name or options.path.resolve().name
        done.append(import_model(options.path, name, options.models, add))
        reports.show_model(done[-1], out)
    else:
        for report in import_repository(options.path, options.models, add):
            done.append(report)
            reports.show_model(report, out)
        reports.show_summary(done, out)
    return next((report.exit_code for report in done if report.exit_code), 0)


def _sample_of(sample: Path | None, name: str) -> RowsOf | None:
    """The rows for one model: the file itself, or in a directory the one with the model's name."""
    if sample is None:
        return None
    if not sample.is_dir():
        return partial(read_rows, sample)
    files = [sample / f"{name}{suffix}" for suffix in SAMPLES]
    file = next((path for path in files if path.is_file()), None)
    return None if file is None else partial(read_rows, file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane import",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="an ONNX file, or a directory of Triton or MLflow")
    parser.add_argument("--name", help="the model's name in the repository; a Triton repository has its own")
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="FILE",
        help="rows that the model takes: .npz with an array for each input, or .csv, .parquet or .arrow; "
        "for a Triton repository, a directory with a file for each model (default: random rows)",
    )
    parser.add_argument("--version", type=version_number, metavar="N", help="its number (default: the next one)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the repository (default: %(default)s)")
    dependent = parser.add_mutually_exclusive_group()
    dependent.add_argument(
        "--no-batching",
        action="store_true",
        help="run each request alone: for graphs in which a row's answer depends on the others",
    )
    dependent.add_argument(
        "--allow-dependent-rows",
        action="store_true",
        help="let requests share batches all the same: for graphs that are quantized dynamically",
    )
    trust = parser.add_argument_group("for MLflow's sklearn flavor, as in skylane convert")
    trust.add_argument(
        "--trust-types", metavar="A,B", help="types in a skops file that skops does not know, but you do"
    )
    trust.add_argument("--trust", action="store_true", help="run whatever the file asks for; needed for pickle files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
