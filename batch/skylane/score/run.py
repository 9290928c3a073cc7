"""Scores all files of an input into an output directory, and continues where an earlier run ended."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from skylane.score.layout import Layout
from skylane.score.partition import PartitionScorer
from skylane.score.records import PARTITIONS, Environment, PartitionRecord, Records, RunRecord, difference
from skylane.score.row_sources import Source
from skylane.score.scorer import Scorer
from skylane.score.selection import ScoreError, Selected


class Progress(Protocol):
    """Hears how far a run is."""

    def begin(self, partitions: int, rows: int | None) -> None:
        """So much is to be done. None: the number of rows is not known."""

    def rows(self, count: int) -> None:
        """So many more rows are scored."""

    def partition(self, name: str, record: PartitionRecord, *, was_done: bool) -> None:
        """One more file is complete, in this run or before."""


@dataclass
class Summary:
    """What a run did."""

    scored: int = 0
    """Partitions that it scored."""
    unchanged: int = 0
    """Partitions that were complete before."""
    rows: int = 0
    """Of all partitions, those that are unchanged as well."""
    scored_rows: int = 0
    """Of the partitions that it scored."""
    rejected: int = 0
    partitions: list[str] = field(default_factory=list)
    """Names of the outputs."""


def run(
    scorer: Scorer, chosen: Selected, files: Sequence[Source], layout: Layout, *, workers: int, progress: Progress,
    columns: tuple[str, ...] | None = None, features: Sequence[str] = (), prefix: str = "", restart: bool = False,
) -> Summary:  # fmt: skip
    """Score the files that are not complete yet. Killed at any instant and run again, it ends with the same tree.

    Raises ScoreError if the directory holds the answers of another version or of other options, unless `restart`.
    """
    record = RunRecord(
        model=chosen.model, version=chosen.version, identity=scorer.manifest.identity, columns=columns,
        features=tuple(features), prefix=prefix, format=layout.format,
        environment=Environment.here(chosen.policy.session.intra_op_threads),
    )  # fmt: skip
    with _locked(layout), ThreadPoolExecutor(workers, "score") as pool:
        is_new = _begin(layout, record, files, restart=restart)
        progress.begin(len(files), _rows_of(files))
        partitions = PartitionScorer(scorer, layout, columns, pool, workers, progress.rows)
        summary = Summary()
        for source in files:
            done = None if is_new else partitions.is_done(source)
            finished = done or partitions.score(source)
            _count(summary, finished, was_done=done is not None)
            progress.partition(finished.output, finished, was_done=done is not None)
    return summary


def _begin(layout: Layout, record: RunRecord, files: Sequence[Source], *, restart: bool) -> bool:
    """Say whose answers the directory holds; whether it holds none yet that could be kept."""
    records = Records(layout.records)
    before = None if restart else records.read_run()
    if before is not None and (what := difference(before, record)):
        if records.has_partitions():
            raise ScoreError(
                f"output: {layout.output} was written with {what}: score into another directory, or pass --restart to "
                "score all of it again"
            )
        records.write_run(record)  # the first attempt wrote nothing, for the sake of which this one should be refused
        return True
    if restart:
        shutil.rmtree(layout.records / PARTITIONS, ignore_errors=True)
    elif before is None and (foreign := next(filter(Path.exists, map(layout.target, files)), None)):
        raise ScoreError(
            f"output: {foreign} exists, and was not written by this command: name another directory or file, or pass "
            "--restart to replace it"
        )
    if before is None:
        records.write_run(record)
    return before is None


def _count(summary: Summary, record: PartitionRecord, *, was_done: bool) -> None:
    summary.scored += not was_done
    summary.unchanged += was_done
    summary.rows += record.rows
    summary.scored_rows += 0 if was_done else record.rows
    summary.rejected += record.rejected
    summary.partitions.append(record.output)


def _rows_of(files: Sequence[Source]) -> int | None:
    """Rows of all files, if their format tells."""
    if any(each.format != "parquet" for each in files):
        return None
    return sum(each.open().rows or 0 for each in files)


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One run at a time."""
    layout.records.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(layout.records / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ScoreError(f"output: another run scores into {layout.output} now") from None
    finally:
        os.close(descriptor)
