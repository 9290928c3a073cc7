"""A data frame with the answers of a version as further columns, computed where its partitions are."""

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema
from pyspark.sql.types import StringType, StructField, StructType

from skylane.score.frames import scored_schema
from skylane.score.scorer import Scorer
from skylane.score.selection import ScoreError, Selected, select
from skylane.spark.shipping import REASON, Shipped, ship

PACKAGES: Final = ("skylane", "onnxruntime", "numpy", "pyarrow")
"""What the workers need. The versions of the first two must be the driver's: another may give other answers."""


def score(
    frame: Any, model: str, models: str | Path = "models", *, features: Sequence[str] = (), prefix: str = ""
) -> Any:
    """The frame with the answers of `NAME`, `NAME@VERSION` or `NAME:LABEL` of the repository `models`.

    Rows that the model does not take are kept, without an answer and with the reason in the column `_reason`. The
    version's files are read here and travel with the query, so that the executors need no access to the repository;
    they load it once for each Python process. `features`, `prefix`: see skylane.score.Scorer. Raises ScoreError at
    once if the columns do not fit.
    """
    chosen = select(model, Path(models))
    scorer = Scorer.load(model, models, features=features, prefix=prefix)
    if REASON in frame.columns:
        raise ScoreError(f"the data has a column {REASON!r} already, which is where the reasons go: rename it")
    schema = to_arrow_schema(frame.schema)
    scorer.check(schema)
    scored_schema(schema, scorer)
    return frame.mapInArrow(_mapper(chosen, scorer.manifest.identity, features, prefix), _spark_schema(frame, scorer))


def _spark_schema(frame: Any, scorer: Scorer) -> StructType:
    answers = [StructField(field.name, from_arrow_type(field.type), nullable=True) for field in scorer.schema]
    return StructType([*frame.schema.fields, *answers, StructField(REASON, StringType(), nullable=True)])


def _mapper(
    chosen: Selected, identity: str, features: Sequence[str], prefix: str
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    shipped: Shipped = ship(chosen, identity, tuple(features), prefix)
    versions = {name: version_of(name) for name in PACKAGES}
    driver = sys.executable

    # A function inside a function travels by value, so that this much runs where skylane is not installed.
    def answers(batches: Iterator[Any]) -> Iterator[Any]:
        import sys
        from importlib.metadata import PackageNotFoundError, version

        remedy = (
            "install the same there, or name a Python that has it with PYSPARK_PYTHON or spark.pyspark.python; "
            f"the driver's is {driver}"
        )
        for name, wanted in versions.items():
            try:
                found = version(name)
            except PackageNotFoundError:
                raise RuntimeError(
                    f"skylane.spark: the workers' Python, {sys.executable}, has no {name}: {remedy}"
                ) from None
            if name in ("skylane", "onnxruntime") and found != wanted:
                raise RuntimeError(
                    f"skylane.spark: the workers' Python, {sys.executable}, has {name} {found}, and the driver "
                    f"{wanted}: {remedy}"
                )
        from skylane.spark.shipping import scored_batches

        yield from scored_batches(shipped, batches)

    return answers
