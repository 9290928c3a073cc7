"""Journals and outcomes as a server writes them, without one: for tests of what reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal import Capture, PredictionWriter, Rows, treatments
from skylane.outcomes import SUBMISSION, OutcomeStore
from skylane.outcomes.store import Submission

WRITER: Final = "00000000000000aa"


def _array(values: Any) -> Any:
    """Texts as objects, probabilities in single precision, as a server has them."""
    array = np.asarray(values)
    if array.dtype.kind == "U":
        return array.astype(object)
    return array.astype(np.float32) if array.ndim == 2 else array


class WrittenJournal:
    """One server's journal, and the outcomes that are sent to it."""

    def __init__(self, directory: Path, model: str, *, writer: str = WRITER) -> None:
        self.directory, self.model, self._writer_name = directory, model, writer
        self._writer = PredictionWriter(directory, writer)
        self._outcomes = OutcomeStore(directory, now=lambda: self._now, writer=writer)
        self._call, self._now = 0, 1e9

    def predict(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        at_us: int,
        *,
        version: int = 1,
        event_time: str | None = None,
        degraded: str | None = None,
        probability: float = 1.0,
    ) -> str:
        """Record one call and flush. Returns its prediction id."""
        self._call += 1
        inputs = {name: _array(values) for name, values in inputs.items()}
        outputs = {name: _array(values) for name, values in outputs.items()}
        texts = {name: np.asarray(values).dtype.kind in "OU" for name, values in inputs.items()}
        capture = Capture(
            model=self.model, version=version, columns=treatments(texts, keep=("*", *texts)), event_time=event_time
        )
        rows = len(next(iter(inputs.values())))
        self._writer.append(
            Rows(
                capture=capture, calls=[self._call], counts=[rows], happened_at_us=at_us, degraded=degraded,
                probability=probability, inputs=inputs, outputs=outputs,
            )
        )  # fmt: skip
        self._writer.flush(at_us / 1e6)
        return f"{self._writer_name}-{self._call:x}"

    def record(
        self, prediction_id: str, labels: Sequence[str | None], known_at_us: int | Sequence[int], sender: str = "test"
    ) -> None:
        """Record the outcomes of a call's first rows; None: no outcome for this row."""
        known = [known_at_us] * len(labels) if isinstance(known_at_us, int) else list(known_at_us)
        rows = [
            {"prediction_id": prediction_id, "row": row, "label": label, "happened_at": at, "known_at": at}
            for row, (label, at) in enumerate(zip(labels, known, strict=True))
            if label is not None
        ]
        self.submit(rows, sender)

    def submit(self, rows: Sequence[Mapping[str, Any]], sender: str = "test") -> None:
        """Record outcomes as they are."""
        table = pa.Table.from_pylist([dict.fromkeys(SUBMISSION.names) | dict(row) for row in rows], SUBMISSION)
        self._now += 1.0
        if len(table):
            self._now = max(self._now, max(row["known_at"] for row in rows) / 1e6)
            (receipt,) = self._outcomes.record([Submission(self.model, sender, table, {})])
            assert not isinstance(receipt, OSError), receipt
            assert not receipt.refused, receipt.refusals

    def close(self) -> None:
        """Close all segments."""
        self._writer.close(self._now)
        self._outcomes.close()
