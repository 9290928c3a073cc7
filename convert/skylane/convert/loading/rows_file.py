"""Files of held-out rows → a data frame or an array, and the target. Reads CSV, Parquet, Arrow and NumPy's npz."""

import difflib
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skylane.convert.errors import BadRows, Unreadable
from skylane.convert.inspection.schema import Array

ROWS_NAMES = ("X", "rows", "features", "x")
TARGET_NAMES = ("y", "target", "labels")

SHOWN = 20
"""Largest number of column names in a message."""

ARROW_FILE = b"ARROW1"
"""The magic bytes of an Arrow file; an Arrow stream does not have them."""

Reader = Callable[[Path, Collection[str]], pd.DataFrame | dict[str, Array]]


def read_sample(
    path: Path, target: str | None, texts: Collection[str] = ()
) -> tuple[pd.DataFrame | Array, Array | None]:
    """The rows, and the target's values if it is named. In an npz file the target may be left unnamed: `y`.

    `texts` are columns that are text even where they look like numbers. Raises Unreadable or BadRows.
    """
    rows = read_file(path, texts)
    if isinstance(rows, dict):
        return _from_arrays(path, rows, target)
    if target is None:
        return rows, None
    if target not in rows.columns:
        raise BadRows(
            f"{path}: there is no column {target!r} for the target{near(target, list(map(str, rows.columns)))}"
        )
    return rows.drop(columns=target), rows[target].to_numpy()


def read_file(path: Path, texts: Collection[str] = ()) -> pd.DataFrame | dict[str, Array]:
    """The whole content of a file: a data frame, or the arrays of an npz file by name. Raises Unreadable."""
    reader = _reader(path)
    if reader is None:
        kinds = ".csv, .parquet, .arrow or .npz"
        raise Unreadable(f"{path}: rows are read from {kinds} files, not from {path.suffix or 'this'!r}")
    try:
        return reader(path, texts)
    except (ImportError, OSError, ValueError, KeyError) as error:  # errors of pandas and NumPy are ValueErrors
        raise Unreadable(f"{path}: the rows cannot be read: {_error_text(error)}") from error


def near(name: str, existing: Sequence[str]) -> str:
    """The end of a message about an unknown name: a suggestion, or some of the existing names."""
    lower = {one.lower(): one for one in reversed(existing)}
    alike = difflib.get_close_matches(name.lower(), lower, n=1)
    if alike:
        return f": did you mean {lower[alike[0]]!r}?"
    shown = ", ".join(existing[:SHOWN])
    return (
        f"; there are {shown}" + (f" and {len(existing) - SHOWN} more" if len(existing) > SHOWN else "")
        if existing
        else ""
    )


def holds_rows(path: Path) -> bool:
    """Whether the file name has the suffix of a supported format."""
    return _reader(path) is not None


def _reader(path: Path) -> Reader | None:
    readers: dict[str, Reader] = {
        ".csv": _csv,
        ".parquet": _parquet,
        ".arrow": _arrow,
        ".arrows": _arrow,
        ".feather": _arrow,
        ".ipc": _arrow,
        ".npz": _npz,
    }
    names = [suffix for suffix in path.suffixes if suffix in readers]  # held_out.csv.gz is a CSV file
    return readers[names[-1]] if names else None


def _csv(path: Path, texts: Collection[str]) -> pd.DataFrame:
    # Types are inferred from the whole file: by chunks, a column could be numbers in one and text in another.
    return pd.read_csv(path, low_memory=False, dtype=dict.fromkeys(texts, "str"))


def _parquet(path: Path, _: Collection[str]) -> pd.DataFrame:
    return pd.read_parquet(path)


def _arrow(path: Path, _: Collection[str]) -> pd.DataFrame:
    """An IPC file, such as Feather, or an IPC stream; file names do not distinguish them."""
    import pyarrow as pa  # 40 MB of memory, which only these two formats need

    with pa.OSFile(str(path)) as source:
        stream = source.read(len(ARROW_FILE)) != ARROW_FILE
        source.seek(0)
        table = (pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)).read_all()
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _npz(path: Path, _: Collection[str]) -> dict[str, Array]:
    with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _from_arrays(path: Path, arrays: dict[str, Array], target: str | None) -> tuple[Array, Array | None]:
    rows = next((arrays[name] for name in ROWS_NAMES if name in arrays), None)
    if rows is None:
        raise BadRows(f"{path}: expected the rows under one of {', '.join(ROWS_NAMES)}; there are {', '.join(arrays)}")
    if target is not None and target not in arrays:
        raise BadRows(f"{path}: there is no array {target!r} for the target; there are {', '.join(arrays)}")
    named = target or next((name for name in TARGET_NAMES if name in arrays), None)
    return rows, None if named is None else arrays[named]


def _error_text(error: Exception) -> str:
    if isinstance(error, ImportError) and "pyarrow" in str(error):
        return "Parquet and Arrow need pyarrow: pip install 'skylane[convert]', or give the rows as .csv or .npz"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]
