"""The training join from a file to a file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from skylane.features.compiled import CompiledView
from skylane.features.errors import SourceError
from skylane.features.training.joining import AT, Joined, join


def write_join(
    labels: str | Path,
    views: Sequence[CompiledView],
    out: str | Path,
    root: str | Path = ".",
    *,
    at: str = AT,
    time_zone: str | None = None,
    progress: Callable[[str], None] = lambda _view: None,
) -> Joined:
    """Join a Parquet or CSV file and write a Parquet file, which is replaced at once. Raises SourceError, OSError."""
    source, target = Path(labels), Path(out)
    try:
        if source.suffix == ".csv":
            keys = {name: pa.string() for view in views for name in view.entity}  # 0017 stays a code
            options = pa.csv.ConvertOptions(column_types={**keys, at: pa.string()}, strings_can_be_null=True)
            table = pa.csv.read_csv(source, convert_options=options)
        else:
            table = pq.read_table(source)
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"{source}: cannot be read: {error}") from None
    joined = join(table, views, root, at=at, time_zone=time_zone, progress=progress)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        pq.write_table(joined.table, unfinished)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return joined
