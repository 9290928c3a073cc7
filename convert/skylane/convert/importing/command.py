"""The command `skylane import`: publishes ONNX files, Triton repositories and MLflow models as versions."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from rich.console import Console

from skylane.convert.console import results_console
from skylane.convert.errors import BadArgument, ConversionError
from skylane.convert.importing import report as reports
from skylane.convert.importing.copying import version_number
from skylane.convert.importing.mlflow import UNNAMED, MlflowModel, is_mlflow, read_mlflow
from skylane.convert.importing.sample import Rows, Sample, inputs_of_sample, read_rows
from skylane.convert.importing.triton import ModelReport, import_model, import_repository, is_model, write_policy
from skylane.convert.importing.version import ImportedVersion, RowsOf, Source, import_graph
from skylane.convert.publishing.store import versions
from skylane.manifest import TensorSpec

DESCRIPTION: Final = """\
Publish existing models: an ONNX file from any library, a Triton model repository, or a
model saved by MLflow.

The inputs and outputs of the graph become the model's interface. The graph is run on your
sample rows, or on random ones. Each row must get the same answer alone and in a batch,
because requests of several callers share batches. Some answers are stored with the
version; a server that computes different ones refuses to serve it. The graph is changed
where necessary: external weights are embedded, a ZipMap is replaced by a tensor with a
column for each class, and a fixed batch dimension is made dynamic."""

EPILOG: Final = """\
what can be imported:
  FILE.onnx     one graph; --name is the model's name
  DIRECTORY     with MLmodel: an MLflow model; the onnx flavor is published unchanged, the
                sklearn flavor is converted as by skylane convert
                with config.pbtxt or VERSION/model.onnx: one Triton model
                with such directories in it: a Triton model repository. Versions keep
                their numbers, and config.pbtxt is translated to model.toml; settings
                without an equivalent are listed

examples:
  skylane import model.onnx --name churn --sample rows.csv
  skylane import triton-repository/ --models models
  skylane import triton-repository/ --models models --sample rows/   # rows/<model>.npz
  skylane import mlruns/1/models/m-4a/artifacts --name churn

exit codes: 0 published, or already published; 2 invalid arguments or files;
  3 file not trusted; 4 graph cannot be served; 6 repository not writable. If a model of a
  Triton repository fails, the others are still imported"""

PIPELINE: Final = "not an ONNX file; convert a fitted pipeline with `skylane convert`"
TORCH: Final = "not an ONNX file; export a PyTorch model with torch.onnx.export first"
KERAS: Final = "not an ONNX file; convert a Keras model with `python -m tf2onnx.convert --keras` first"
OTHER_FILES: Final = {
    ".skops": PIPELINE, ".pkl": PIPELINE, ".pickle": PIPELINE, ".joblib": PIPELINE, ".pt": TORCH, ".pth": TORCH,
    ".keras": KERAS, ".h5": KERAS,
}  # fmt: skip
"""File name suffix of another format → how to get an ONNX file from it."""

SAMPLES: Final = (".npz", ".parquet", ".csv", ".arrow")
NO_BATCHING: Final = "# Made by skylane import --no-batching.\n[batching]\nmax_batch_rows = 1\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Import and publish. Returns the exit code; raises SystemExit for invalid arguments."""
    options = _parser().parse_args(list(sys.argv[1:] if argv is None else argv))
    try:
        return _import(options)
    except ConversionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def _import(options: argparse.Namespace) -> int:
    path: Path = options.path
    if not path.exists():
        raise BadArgument(f"{path}: no such file or directory")
    if options.sample is not None and not options.sample.exists():
        raise BadArgument(f"--sample {options.sample}: no such file or directory")
    if is_mlflow(path):
        return _mlflow(options)
    if path.name == "MLmodel":
        options.path = path.parent
        return _mlflow(options)
    if not path.is_dir():
        return _file(options)
    if (path / "saved_model.pb").exists():
        raise BadArgument(
            f"{path}: this is a TensorFlow model; convert it with `python -m tf2onnx.convert --saved-model {path} "
            f"--output model.onnx`, then import model.onnx"
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
    """The model's name. An invalid one fails before the work, not after it."""
    if options.name is None:
        raise BadArgument("--name is required: the name of the model to publish")
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
    out = results_console(highlight=False, markup=False)
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
    return inputs_of_sample(sample, inputs, str(model.directory / (model.example or "")))


def _pipeline(options: argparse.Namespace, model: MlflowModel, name: str) -> int:
    """Convert a fitted pipeline, as `skylane convert` does."""
    from skylane.convert.command import main as convert_main  # scikit-learn and skl2onnx, which graphs do not need

    if options.version is not None or options.no_batching or options.allow_dependent_rows:
        raise BadArgument(
            "--version, --no-batching and --allow-dependent-rows apply to graphs; this is a scikit-learn pipeline"
            ", which is converted"
        )
    argv = [str(model.file), "--name", name, "--models", str(options.models)]
    argv += ["--trust"] if options.trust else []
    argv += ["--trust-types", options.trust_types] if options.trust_types else []
    if options.sample is not None:
        return convert_main([*argv, "--data", str(options.sample)])
    sample = model.sample()
    if sample is None:
        raise BadArgument("the model has no input example to verify it with: give sample rows (--sample)")
    with tempfile.TemporaryDirectory(prefix="skylane-") as directory:
        return convert_main([*argv, "--data", str(_written(sample, Path(directory)))])


def _written(sample: Sample, directory: Path) -> Path:
    """Write the rows to a file that the converter reads; returns its path."""
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
        raise BadArgument("--version applies to a single file: versions of a Triton model keep their numbers")
    single = is_model(options.path)
    if options.name is not None and not single:
        raise BadArgument("--name applies to a single model: the models of a repository keep their names")
    target: Path = options.models / (options.name or options.path.resolve().name) if single else options.models
    if target.resolve() == options.path.resolve():
        raise BadArgument(
            f"--models {options.models}: expected another directory than Triton's own: versions are published "
            "beside the original, not over it"
        )
    out = results_console(highlight=False, markup=False)
    done: list[ModelReport] = []
    if single:
        name = options.name or options.path.resolve().name
        done.append(import_model(options.path, name, options.models, add))
        reports.show_model(done[-1], out)
        _say_without_sample(options.sample, done[-1], out)
    else:
        for report in import_repository(options.path, options.models, add):
            done.append(report)
            reports.show_model(report, out)
            _say_without_sample(options.sample, report, out)
        reports.show_summary(done, out)
    return next((report.exit_code for report in done if report.exit_code), 0)


def _sample_of(sample: Path | None, name: str) -> RowsOf | None:
    """Sample rows for one model: from the file, or from the file with the model's name in the directory."""
    if sample is None:
        return None
    if not sample.is_dir():
        return partial(read_rows, sample)
    file = _sample_file(sample, name)
    return None if file is None else partial(read_rows, file)


def _sample_file(directory: Path, name: str) -> Path | None:
    return next((path for suffix in SAMPLES if (path := directory / f"{name}{suffix}").is_file()), None)


def _say_without_sample(sample: Path | None, report: ModelReport, out: Console) -> None:
    """A directory of samples without one for a model may be a mistake: random rows took its place."""
    if sample is None or not sample.is_dir() or not report.versions or _sample_file(sample, report.name):
        return
    out.print(f"--sample {sample}: expected {report.name}{', '.join(SAMPLES[:-1])} or {SAMPLES[-1]} there, found none")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane import",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="an ONNX file, or a directory saved by MLflow or used by Triton"
    )
    parser.add_argument(
        "--name", help="the model's name in the repository; the models of a Triton repository keep theirs"
    )
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="FILE",
        help="sample rows: .npz with an array for each input, or .csv, .parquet or .arrow; "
        "for a Triton repository, a directory with a file for each model (default: random rows)",
    )
    parser.add_argument("--version", type=version_number, metavar="N", help="the version's number (default: the next)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (default: %(default)s)"
    )
    dependent = parser.add_mutually_exclusive_group()
    dependent.add_argument(
        "--no-batching",
        action="store_true",
        help="run each request alone: for graphs in which a row's answer depends on other rows",
    )
    dependent.add_argument(
        "--allow-dependent-rows",
        action="store_true",
        help="batch requests even if rows affect each other's answers: for dynamically quantized graphs",
    )
    trust = parser.add_argument_group("for MLflow's sklearn flavor, as in skylane convert")
    trust.add_argument(
        "--trust-types", metavar="A,B", help="types in the skops file to trust although skops does not know them"
    )
    trust.add_argument("--trust", action="store_true", help="allow the file to run any code; required for pickle files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
