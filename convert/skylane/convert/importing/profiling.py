"""The command `skylane profile`: writes the reference of a published version that lacks one, beside it.

Published versions never change, and SHA256SUMS lists their files. So the reference is written beside the version, to
`models/wine/3.reference.json`, and contains the version's identity, so that it cannot be used for another version.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from skylane import reference as references
from skylane.convert.errors import BadArgument, BadRows, ConversionError, Unconvertible
from skylane.convert.export.session import Session
from skylane.convert.importing.copying import read_version, version_of
from skylane.convert.importing.version import place_name
from skylane.convert.inspection.schema import Array, Column, Layout
from skylane.convert.loading.rows_file import near, read_file
from skylane.convert.publishing.profile import profile
from skylane.convert.publishing.reference import importances_of, reference, reliability_of
from skylane.convert.publishing.store import has_reference, put_reference
from skylane.convert.publishing.times import block_seconds, seconds_of
from skylane.dtypes import NUMPY
from skylane.manifest import Manifest, TensorSpec
from skylane.reference import Reference

DESCRIPTION: Final = """\
Write what the rows of a published version look like by blocks of time, so that drift can
be judged: for versions of earlier releases and imported graphs, which lack it.

The rows should be those that the model was trained on, with the time of each. The version
itself does not change: the file lies beside it, as models/NAME/VERSION.reference.json."""

EPILOG: Final = """\
examples:
  skylane profile wine/3 --data train.parquet --time bottled_at
  skylane profile flights_late --data 2013.csv --time sched_dep --timezone America/New_York
  skylane profile wine/3 --data train.csv          histograms only: changes are not judged

The exit code is 0; 2 for wrong arguments, files or rows; 6 if the repository is not writable."""

RELIABILITY_ROWS: Final = 20_000


def main(argv: Sequence[str]) -> int:
    """Write a reference and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        print(write(options))
    except ConversionError as error:
        print(f"skylane profile: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def write(options: argparse.Namespace) -> str:
    """Measure the rows and write the reference. Returns the message to print; raises ConversionError."""
    block_s = block_seconds(options.block)
    directory = version_of(options.models, options.version)
    if has_reference(directory) and not options.replace:
        raise BadArgument(f"{directory}: it has a reference; --replace writes another, which is used instead")
    manifest, graph = read_version(directory)
    layout = layout_of(manifest)
    frame = _frame(options.data, layout)
    times_s = None if options.time is None else _times(frame, options)
    truth = None if options.target is None else _column(frame, options.target, "--target")
    made = reference_of_version(manifest, graph, layout, frame, times_s, block_s, truth)
    path = put_reference(directory, references.encode(made))
    return _summary(path, made)


def reference_of_version(
    manifest: Manifest,
    graph: bytes,
    layout: Layout,
    frame: pd.DataFrame,
    times_s: Array | None,
    block_s: float,
    truth: Array | None,
) -> Reference:
    """The reference of these rows and the published graph's answers to them. Without times it has no blocks."""
    session = Session(graph)
    casts = {spec.name: NUMPY[spec.dtype] for spec in manifest.tensors if spec.dtype != "string"}

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        return session.named({name: array.astype(casts.get(name, array.dtype)) for name, array in tensors.items()})

    try:
        profiled = profile(layout, frame, "float64", manifest.outputs, run, "training")
    except (ValueError, TypeError) as error:
        raise BadRows(f"the rows are none that the model takes: {error}") from error
    if times_s is None:
        return Reference.from_profile(profiled.profile, manifest.identity)
    row_s = 5e-5  # a guess: versions of earlier releases need not know what a row takes
    importances = importances_of(layout, frame, "float64", manifest.outputs, run, row_s)
    reliability = {}
    if truth is not None:
        answered = profiled.answered[:RELIABILITY_ROWS]
        name = next((spec.name for spec in manifest.outputs if spec.role == "probabilities"), None)
        if name is not None:
            reliability = reliability_of(profiled.answers[name][: len(answered)], truth[answered], manifest.outputs)
    made = reference(layout, frame, profiled, times_s, block_s, importances, reliability)
    return references.with_identity(made, manifest.identity)


def layout_of(manifest: Manifest) -> Layout:
    """How rows become the inputs of a published graph: by its columns, or by positions in its tensors."""
    columns: list[Column] = []
    order: dict[str, tuple[int, ...]] = {}
    named = {(column.tensor, column.index): column for column in manifest.columns}
    for spec in manifest.tensors:
        if len(spec.shape) > 2 or (len(spec.shape) == 2 and spec.shape[1] is None):
            raise Unconvertible(f"input {spec.name!r} has no columns: a reference is made of rows of columns")
        places = []
        for index in range(_width(spec)):
            column = named.get((spec.name, index))
            gap: float | str | None = None if index in spec.no_nan else np.nan
            if spec.dtype == "string":
                gap = None
            if column is not None:
                gap = np.nan if column.missing == "NaN" else column.missing
            name = column.name if column is not None else place_name(manifest.tensors, spec, index)
            places.append(len(columns))
            columns.append(Column(name, "string" if spec.dtype == "string" else "number", missing=gap))
        order[spec.name] = tuple(places)
    return Layout(tuple(columns), named=bool(manifest.columns), order=order)


def _width(spec: TensorSpec) -> int:
    return 1 if len(spec.shape) == 1 else int(spec.shape[1] or 1)


def _frame(path: Path, layout: Layout) -> pd.DataFrame:
    """The file's rows, with the model's columns among them."""
    texts = [column.name for column in layout.columns if column.kind == "string"]
    rows = read_file(path, texts)
    if not isinstance(rows, pd.DataFrame):
        raise BadRows(f"{path}: expected rows with named columns (.csv, .parquet, .arrow), not arrays")
    rows = rows.rename(columns=str).reset_index(drop=True)
    if not len(rows):
        raise BadRows(f"{path}: there are no rows")
    missing = [column.name for column in layout.columns if column.name not in rows.columns]
    if missing:
        names = list(map(str, rows.columns))
        raise BadRows(f"{path}: there is no column {missing[0]!r}, which the model takes{near(missing[0], names)}")
    return rows


def _column(frame: pd.DataFrame, name: str, option: str) -> Array:
    if name not in frame.columns:
        raise BadRows(f"{option}: there is no column {name!r}{near(name, list(map(str, frame.columns)))}")
    return np.asarray(frame[name].to_numpy())


def _times(frame: pd.DataFrame, options: argparse.Namespace) -> Array:
    _column(frame, options.time, "--time")
    return seconds_of(frame[options.time], options.timezone, f"column {options.time!r}")


def _summary(path: Path, made: Reference) -> str:
    if not made.blocks:
        return f"{path}: {made.rows:,} rows without times: values that they lack are judged, changes are not"
    text = f"{path}: {made.rows:,} rows in {made.blocks} blocks, about {made.block_rows:,.0f} rows each"
    if not made.covers_a_year:
        text += "; less than a year, so season and drift cannot be told apart"
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane profile",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("version", metavar="NAME[/VERSION]", help="the version (default: the newest)")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="the rows: .csv, .parquet or .arrow")
    parser.add_argument("--time", metavar="COLUMN", help="the column that says when each row happened")
    parser.add_argument("--timezone", metavar="ZONE", help="of times without one, such as Europe/Zurich or UTC")
    parser.add_argument("--block", default="1d", metavar="LENGTH", help="length of a block: 1d (the default), 6h, 15m")
    parser.add_argument("--target", metavar="COLUMN", help="the true labels, for how reliable probabilities are")
    parser.add_argument("--replace", action="store_true", help="even if the version has a reference")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (default: %(default)s)"
    )
    return parser
