"""Tables in memory: Arrow, pandas and polars in, the same kind out."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from skylane.score.scorer import Scored, Scorer
from skylane.score.selection import ScoreError

BATCH_ROWS: Final = 65_536
"""Rows that are read, scored and written at a time."""

Rejected = Literal["raise", "null", "drop"]


def score(
    data: Any,
    model: str | Scorer,
    models: str | Path = "models",
    *,
    rejected: Rejected = "raise",
    features: Sequence[str] = (),
    prefix: str = "",
) -> Any:
    """The data with the answers of a version as further columns.

    `data`: a table or batch of pyarrow, a data frame of pandas or polars; the result is of the same kind. A
    RecordBatchReader, or any other iterable of record batches, is scored as it is read, so that its length does not
    matter; the result is a RecordBatchReader.

    `model`: `NAME`, `NAME@VERSION` or `NAME:LABEL` of the repository `models`, or a Scorer. `rejected`: what becomes
    of rows that the model does not take: an error that names the first, no answer (null), or left out.
    `features`, `prefix`: see Scorer. Raises ScoreError.
    """
    scorer = model if isinstance(model, Scorer) else Scorer.load(model, models, features=features, prefix=prefix)
    if isinstance(data, pa.Table):
        return _scored_table(data, scorer, rejected)
    if isinstance(data, pa.RecordBatch):
        answered = _scored_table(pa.Table.from_batches([data]), scorer, rejected)
        return pa.concat_batches(answered.to_batches() or [pa.RecordBatch.from_pylist([], schema=answered.schema)])
    if isinstance(data, pa.RecordBatchReader):
        return _reader(data.schema, data, scorer, rejected)
    if _is_frame(data, "pandas"):
        return _scored_table(_of_pandas(data), scorer, rejected).to_pandas()
    if _is_frame(data, "polars"):
        return type(data)(_scored_table(data.to_arrow(), scorer, rejected))
    if isinstance(data, Iterator | list | tuple):
        return _iterated(iter(data), scorer, rejected)
    raise ScoreError(
        f"data: expected a table of pyarrow, a data frame of pandas or polars, or record batches, received "
        f"{type(data).__name__}"
    )


def scored_schema(schema: pa.Schema, scorer: Scorer) -> pa.Schema:
    """The columns of the data and those of the answers. Raises ScoreError if a name is or would be there twice."""
    if repeated := repeated_names(schema.names):
        raise ScoreError(f"the data has more than one column {repeated[0]!r}: give each a name of its own")
    if both := [name for name in scorer.schema.names if name in schema.names]:
        raise ScoreError(
            f"the data has a column {both[0]!r} already, which is the name of an answer: pass a prefix for the answers "
            "(--prefix)"
        )
    return pa.schema([*schema, *scorer.schema], metadata=schema.metadata)


def repeated_names(names: Sequence[str]) -> list[str]:
    """Those that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def _of_pandas(data: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(data, preserve_index=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ScoreError(
            f"data: a column of the frame has values of different types: {'; '.join(error.args)}"
        ) from error
    except ValueError as error:  # a name that is there twice
        raise ScoreError(f"data: {error}") from error


def _scored_table(table: pa.Table, scorer: Scorer, rejected: Rejected) -> pa.Table:
    schema = scored_schema(table.schema, scorer)
    scorer.check(table.schema)
    batches = table.to_batches(max_chunksize=BATCH_ROWS)
    return pa.Table.from_batches(_scored_batches(batches, schema, scorer, rejected), schema=schema)


def _reader(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], scorer: Scorer, rejected: Rejected
) -> pa.RecordBatchReader:
    scorer.check(schema)
    scored = scored_schema(schema, scorer)
    return pa.RecordBatchReader.from_batches(scored, _scored_batches(batches, scored, scorer, rejected))


def _iterated(batches: Iterator[Any], scorer: Scorer, rejected: Rejected) -> pa.RecordBatchReader:
    first = next(batches, None)
    if not isinstance(first, pa.RecordBatch):
        raise ScoreError(f"data: expected record batches of pyarrow, received {type(first).__name__}")

    def all_of_them() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    return _reader(first.schema, all_of_them(), scorer, rejected)


def _scored_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, scorer: Scorer, rejected: Rejected
) -> Iterator[pa.RecordBatch]:
    before = 0
    for whole in batches:
        for start in range(0, len(whole), BATCH_ROWS):
            batch = whole.slice(start, BATCH_ROWS)
            scored = scorer.score(batch)
            if scored.rejections and rejected == "raise":
                first = scored.rejections[0]
                raise ScoreError(f"row {before + first.row}: {first.reason}")
            yield _joined(batch, scored, schema, drop=rejected == "drop")
            before += len(batch)


def _joined(batch: pa.RecordBatch, scored: Scored, schema: pa.Schema, *, drop: bool) -> pa.RecordBatch:
    """The batch's columns beside those of the answers."""
    if scored.kept is None or not drop:
        answers = scored.answers_to_all(len(batch))
    else:
        batch, answers = batch.take(pa.array(scored.kept, pa.int64())), scored.answers
    return pa.RecordBatch.from_arrays([*batch.columns, *answers.columns], schema=schema)


def _is_frame(data: Any, library: str) -> bool:
    return isinstance(data, getattr(sys.modules.get(library), "DataFrame", ()))
