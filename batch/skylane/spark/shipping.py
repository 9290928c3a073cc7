"""A version on its way to Spark's workers, and what a worker does with it."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import pyarrow as pa

from skylane.manifest import SUMS_FILE
from skylane.score.scorer import Scored, Scorer
from skylane.score.selection import ScoreError, Selected

SHIPPED_BYTES_MAX: Final = 512 * 2**20
"""Of the files that travel with a query, together."""

SCORERS_MAX: Final = 4
"""Versions that a worker keeps loaded."""

POLICY_FILE: Final = "model.toml"

REASON: Final = "_reason"
"""Column that says why a row has no answer; null for rows that have one."""


@dataclass(frozen=True)
class Shipped:
    """A version's files. Compared by what they are."""

    model: str
    version: int
    identity: str
    features: tuple[str, ...]
    prefix: str
    files: tuple[tuple[str, bytes], ...]
    """Path below the model's directory, and content."""

    def __hash__(self) -> int:
        return hash((self.identity, self.features, self.prefix))


def ship(chosen: Selected, identity: str, features: tuple[str, ...], prefix: str) -> Shipped:
    """Read what a worker needs. Raises ScoreError for a graph that is too large to travel."""
    sums = (chosen.directory / SUMS_FILE).read_text()
    names = [line.split("  ", 1)[1] for line in sums.splitlines()]
    size = sum((chosen.directory / name).stat().st_size for name in names)
    if size > SHIPPED_BYTES_MAX:
        raise ScoreError(
            f"{chosen.directory}: expected {SHIPPED_BYTES_MAX} bytes at most to send to Spark's workers, "
            f"received {size}"
        )
    directory = str(chosen.version)
    files = [(f"{directory}/{name}", (chosen.directory / name).read_bytes()) for name in [*names, SUMS_FILE]]
    policy = chosen.directory.parent / POLICY_FILE
    if policy.exists():
        files.append((POLICY_FILE, policy.read_bytes()))
    return Shipped(chosen.model, chosen.version, identity, features, prefix, tuple(files))


def scored_batches(shipped: Shipped, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches with the answers and the reasons. Runs in Spark's workers."""
    scorer = _scorer(shipped)
    for batch in batches:
        yield _joined(batch, scorer.score(batch))


@lru_cache(maxsize=SCORERS_MAX)
def _scorer(shipped: Shipped) -> Scorer:
    """Loaded once for each process."""
    with tempfile.TemporaryDirectory(prefix="skylane-") as directory:
        root = Path(directory) / shipped.model
        for name, content in shipped.files:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        reference = f"{shipped.model}@{shipped.version}"
        return Scorer.load(reference, directory, features=shipped.features, prefix=shipped.prefix)


def _joined(batch: pa.RecordBatch, scored: Scored) -> pa.RecordBatch:
    answers = scored.answers_to_all(len(batch))
    reasons: list[str | None] = [None] * len(batch)
    for each in scored.rejections:
        reasons[each.row] = each.reason
    names = [*batch.schema.names, *answers.schema.names, REASON]
    return pa.RecordBatch.from_arrays([*batch.columns, *answers.columns, pa.array(reasons, pa.string())], names=names)
