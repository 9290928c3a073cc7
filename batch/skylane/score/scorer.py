"""One version that scores batches of Arrow by the server's own rules: loading, binding, limits, runs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import pyarrow as pa

from skylane import manifest as manifests
from skylane.manifest import BrokenVersion, ColumnSpec, Manifest, TensorSpec
from skylane.score import arrow_inputs, arrow_outputs
from skylane.score.selection import ScoreError, select
from skylane.server.core import input_binding
from skylane.server.core.errors import InputMismatch, ServingError
from skylane.server.core.types import Array
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository.verified_loading import load_version

RUN_ROWS: Final = 4096
"""Rows of one run: more gain nothing, and their intermediate values leave the processor's cache."""

LISTED_MAX: Final = 40
"""Columns that an error names."""


@dataclass(frozen=True)
class Rejection:
    """A row that the model does not take."""

    row: int
    """In the batch, from 0."""
    reason: str


@dataclass(frozen=True, eq=False)
class Scored:
    """What came of a batch."""

    kept: Array | None
    """Indexes of the rows that were answered; None: all of them."""
    answers: pa.RecordBatch
    """The answers to these rows."""
    rejections: Sequence[Rejection]

    def answers_to_all(self, rows: int) -> pa.RecordBatch:
        """The answers to all rows of the batch, with gaps for those that were rejected."""
        if self.kept is None:
            return self.answers
        places = np.full(rows, -1, np.int64)
        places[self.kept] = np.arange(len(self.kept))
        return self.answers.take(pa.array(places, pa.int64(), mask=places < 0))


class Scorer:
    """Scores batches with one version. Thread-safe: any number of threads may score at once."""

    def __init__(self, model: LoadedModel, features: Sequence[str] = (), prefix: str = "") -> None:
        """`features`: columns that make up the tensor of a model without named columns. `prefix`: of the answers'
        names."""
        self._model, self._features = model, tuple(features)
        self._interface = model.interface
        self.manifest: Final[Manifest] = manifests.decode(model.manifest_json)
        if features and (self._interface.columns or len(self._interface.tensors) > 1):
            raise ScoreError(f"features: {self.name} takes named inputs: the columns are matched by name")
        self.schema: Final = pa.schema(arrow_outputs.fields_of(self._interface.outputs, model.empty, prefix))
        """The columns of the answers."""

    @classmethod
    def load(
        cls, reference: str, models: str | Path = "models", *, features: Sequence[str] = (), prefix: str = ""
    ) -> Self:
        """Verify and load the version that `NAME`, `NAME@VERSION` or `NAME:LABEL` names. Raises ScoreError."""
        chosen = select(reference, Path(models))
        try:
            model = load_version(chosen.directory, chosen.model, chosen.version, chosen.policy)
        except BrokenVersion as error:
            raise ScoreError(f"{chosen.directory}: {error}") from error
        return cls(model, features, prefix)

    @property
    def name(self) -> str:
        """`model@version`."""
        return f"{self._interface.model}@{self._interface.version}"

    @property
    def is_exact(self) -> bool:
        """Whether the answer to a row is the same in every batch: here, on the server, and again tomorrow."""
        return self._model.rows_are_independent

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        return self._features or tuple(self._interface.columns_by_name or self._interface.tensors_by_name)

    def check(self, schema: pa.Schema, texts: Collection[str] = ()) -> None:
        """Raise ScoreError if rows of this schema cannot be scored at all: for a missing column, or a type."""
        try:
            self._bind(pa.RecordBatch.from_pylist([], schema=schema), texts)
        except ServingError as error:
            names = schema.names
            if not (self._features or set(self.inputs) & set(names)):
                raise ScoreError(
                    f"expected the columns {_listed(self.inputs)}, received none of them: the data has {_listed(names)}"
                ) from error
            missing = [name for name in self.inputs if name not in names]
            raise ScoreError(f"{error}; the data has {_listed(names)}" if missing else str(error)) from error
        self._refuse_texts(schema, texts)

    def score(self, batch: pa.RecordBatch, texts: Collection[str] = ()) -> Scored:
        """Answer the rows that the model takes, and say of each other row why it does not.

        `texts`: columns that are to be parsed as the model's type. The answers to a row are those of the server for
        the same version on the same machine: docs/batch.md.
        """
        try:
            return Scored(None, self._answer(self._run(batch, texts)), ())
        except Exception as error:  # a fault of the rows, or whatever the runtime raises on them
            if not isinstance(error, ServingError) and not _is_of_runtime(error):
                raise
        rejections = list(self._rejected(batch, 0, texts))
        kept = np.setdiff1d(np.arange(len(batch)), [each.row for each in rejections])
        answered = batch.take(pa.array(kept, pa.int64()))
        outputs = self._run(answered, texts) if len(kept) else list(self._model.empty)
        return Scored(kept, self._answer(outputs), rejections)

    def _refuse_texts(self, schema: pa.Schema, texts: Collection[str]) -> None:
        """Raise ScoreError for a column of texts where the model takes numbers: no row of it would be answered."""
        specs: Mapping[str, ColumnSpec | TensorSpec] = (
            self._interface.columns_by_name or self._interface.tensors_by_name
        )
        for name in self.inputs:
            spec = specs.get(name) or self._interface.tensors[0]
            if name in texts or name not in schema.names or spec.dtype == "string":
                continue
            kind = schema.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
                raise ScoreError(
                    f"column {name!r}: expected numbers ({spec.dtype}), received a column of texts ({kind})"
                )

    def _bind(self, batch: pa.RecordBatch, texts: Collection[str]) -> list[Array]:
        inputs = arrow_inputs.inputs_of(self._interface, batch, self._features, texts)
        return input_binding.bind(self._interface, inputs)

    def _run(self, batch: pa.RecordBatch, texts: Collection[str]) -> list[Array]:
        """The outputs for these rows, in runs of RUN_ROWS."""
        arrays = self._bind(batch, texts)
        if not len(batch):
            return list(self._model.empty)
        parts = [
            self._model.runner.run([array[start : start + RUN_ROWS] for array in arrays])
            for start in range(0, len(batch), RUN_ROWS)
        ]
        return [part[0] if len(part) == 1 else np.concatenate(part) for part in zip(*parts, strict=True)]

    def _answer(self, outputs: Sequence[Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            arrow_outputs.columns_of(self._interface.outputs, outputs), schema=self.schema
        )

    def _rejected(self, batch: pa.RecordBatch, first: int, texts: Collection[str]) -> Iterator[Rejection]:
        """The rows that cannot be answered, found by halving: few of many cost little."""
        error = self._fault(batch, texts)
        if error is None:
            return
        if len(batch) == 1:
            yield Rejection(first, _reason(error))
            return
        half = len(batch) // 2
        yield from self._rejected(batch.slice(0, half), first, texts)
        yield from self._rejected(batch.slice(half), first + half, texts)

    def _fault(self, batch: pa.RecordBatch, texts: Collection[str]) -> Exception | None:
        try:
            self._run(batch, texts)
        except Exception as error:  # see `score`
            if not isinstance(error, ServingError) and not _is_of_runtime(error):
                raise
            return error
        return None


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:LISTED_MAX]]
    more = [f"{len(names) - LISTED_MAX} more"] if len(names) > LISTED_MAX else []
    return ", ".join([*shown, *more]) or "no columns"


def _is_of_runtime(error: Exception) -> bool:
    """Whether ONNX Runtime raised it. Its errors have no common base but Exception."""
    return type(error).__module__.startswith("onnxruntime")


def _reason(error: Exception) -> str:
    """Without the row's number, which is that of a part of a batch."""
    text = str(error) if isinstance(error, InputMismatch) else f"the model failed on this row: {error}"
    return text.replace("the value of row 0 is", "the value is")
