"""Writes a segment anew in fewer, larger batches. Rows and their order stay, so readers' positions do as well.

A batch costs about 2 kB beside its rows. A model that answers one row a second would need more room for batches than
for rows.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

import pyarrow as pa

from skylane.journal import layout

ROWS_SMALL: Final = 512
"""Rows of a batch below which its own cost counts."""
BATCHES_MIN: Final = 8
BATCH_ROWS: Final = 65_536
OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)


def worth_compacting(batches: int, rows: int) -> bool:
    """Whether the segment has many small batches."""
    return batches >= BATCHES_MIN and rows < ROWS_SMALL * batches


def compacted(source: Path, target: Path) -> None:
    """Write the segment's rows as `target`, in large batches, replacing it at once. Raises OSError."""
    with pa.OSFile(str(source)) as file:
        reader = pa.ipc.open_stream(file)
        table = pa.Table.from_batches(reader, reader.schema)
    write_segment(target, table)


def write_segment(target: Path, table: pa.Table, owner: os.stat_result | None = None) -> None:
    """Write the table as a closed segment: complete on the disk before it has its name. Raises OSError.

    With `owner`, the status of a file, it belongs to the same user as that file, if this process may arrange it.
    """
    table = table.unify_dictionaries().combine_chunks()
    staging = target.with_name(target.name + layout.STAGING)
    descriptor = os.open(staging, os.O_RDWR | os.O_CREAT | os.O_TRUNC, layout.FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else recovery would take it for a dead writer's
            if owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            with pa.ipc.new_stream(file, table.schema, options=OPTIONS) as stream:
                stream.write_table(table, max_chunksize=BATCH_ROWS)
            file.flush()
            os.fsync(file.fileno())
        staging.rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
