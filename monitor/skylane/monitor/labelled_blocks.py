"""Rows of blocks beside their outcomes, as arrays: what figures are computed from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane import outcomes
from skylane.monitor import rows as block_rows
from skylane.monitor.class_labels import numbers, places
from skylane.monitor.served_models import Answers
from skylane.monitor.state import State

JOINED_AT_ONCE: Final = 400_000
"""Rows that are joined with outcomes at once; bounds memory."""
NEVER: Final = np.iinfo(np.int64).max
"""In place of an instant that has not come."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class LabelledRows:
    """Rows in the order in which they were read, each array (rows,) unless it says otherwise."""

    at: Array
    """int64, microseconds since 1970: the event."""
    known_at: Array
    """int64: when the outcome was known; NEVER without one."""
    versions: Array
    arms: Array
    weights: Array
    predicted: Array
    """Place of the predicted label among the classes; -1 for none of them. Of a regressor: zeros."""
    scores: Array
    """(rows, classes) probabilities, or (rows,) predictions of a regressor."""
    truth: Array
    """Place of the true label among the classes, -1 without one; of a regressor the value, NaN without one."""
    unusable: Array
    """The label where it is no class of the model, or no number for a regressor; None elsewhere. Such rows are not
    labelled, and no label is expected for them."""
    segments: dict[str, Array]
    """Column → values as texts."""

    def __len__(self) -> int:
        return len(self.at)

    def where(self, chosen: Array) -> "LabelledRows":
        """Some of the rows: by a mask or by places."""
        arrays: dict[str, Any] = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        return LabelledRows(**arrays, segments={name: values[chosen] for name, values in self.segments.items()})

    @property
    def labelled(self) -> Array:
        """(rows,) bool: whether the outcome is known."""
        return np.asarray(self.known_at != NEVER)

    @property
    def usable(self) -> Array:
        """(rows,) bool: whether there is no label yet, or one that can be used."""
        return np.asarray(np.equal(self.unusable, np.array(None, object)), bool)

    def as_of(self, instant: int) -> "LabelledRows":
        """The same at an earlier instant: rows that had happened, outcomes that were known."""
        rows = self.where(self.at < instant)
        known = rows.known_at <= instant
        unknown: Any = np.nan if rows.truth.dtype.kind == "f" else -1
        return replace(rows, known_at=np.where(known, rows.known_at, NEVER), truth=np.where(known, rows.truth, unknown))


def concatenated(parts: Sequence[LabelledRows]) -> LabelledRows | None:
    """All rows as one; None without any."""
    if not parts:
        return None
    names = set.intersection(*(set(part.segments) for part in parts))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    segments = {name: np.concatenate([part.segments[name] for part in parts]) for name in sorted(names)}
    return LabelledRows(**arrays, segments=segments)


_ARRAYS: Final = ("at", "known_at", "versions", "arms", "weights", "predicted", "scores", "truth", "unusable")


def labelled_blocks(
    state: State, model: str, blocks: Sequence[int], known: pa.Table, answers: Answers
) -> Iterator[tuple[int, LabelledRows]]:
    """Blocks with the outcomes of their rows. `known`: as `skylane.outcomes.read` returns them."""
    group: list[tuple[int, pa.Table]] = []
    for block in blocks:
        group.append((block, block_rows.decode(part.content for part in state.parts(model, block))))
        if sum(len(table) for _, table in group) >= JOINED_AT_ONCE:
            yield from _joined(group, known, answers)
            group = []
    yield from _joined(group, known, answers)


def _joined(
    group: Sequence[tuple[int, pa.Table]], known: pa.Table, answers: Answers
) -> Iterator[tuple[int, LabelledRows]]:
    if not group:
        return
    whole = pa.concat_tables([table for _, table in group], promote_options="default")
    # An outcome by entity and time belongs to the instant of the event, which is `at` here.
    joined = outcomes.join(whole.rename_columns({"at": "event_at"}), known).table
    start = 0
    for block, table in group:
        yield block, arrays(joined.slice(start, len(table)), answers)
        start += len(table)


def arrays(joined: pa.Table, answers: Answers) -> LabelledRows:
    """A joined table as arrays."""
    known_at = pc.fill_null(joined["known_at"].cast(pa.int64()), NEVER).to_numpy()
    count = len(joined)
    predicted = np.zeros(count, np.int64)
    has_outcome = known_at != NEVER
    scores: Array
    truth: Array
    if answers.task == "classifier":
        predicted, scores = places(joined["predicted"], answers.classes), _probabilities(joined, answers)
        labels = _labels(joined)
        truth = places(labels, answers.classes)
        strange = (truth < 0) & has_outcome
        if answers.is_reversed:  # the positive class is the second of two
            predicted, truth = np.where(predicted < 0, -1, 1 - predicted), np.where(truth < 0, -1, 1 - truth)
            scores = scores[:, ::-1]
    else:
        scores, truth, labels = _floats(joined["number"]), _floats(joined["value"]), joined["label"]
        if labels.null_count < count:
            truth = np.where(np.isnan(truth), numbers(labels), truth)
        strange = np.isnan(truth) & has_outcome
    unusable = np.full(count, None, object)
    if strange.any():
        texts = pc.fill_null(labels.cast(pa.string()), "").filter(pa.array(strange))
        unusable[strange] = texts.to_numpy(zero_copy_only=False)
        known_at = np.where(strange, NEVER, known_at)
    segments = {
        name.partition(":")[2]: pc.fill_null(joined[name], "").to_numpy(zero_copy_only=False)
        for name in joined.column_names
        if name.startswith("segment:")
    }
    return LabelledRows(
        joined["event_at"].cast(pa.int64()).to_numpy(), known_at, joined["version"].to_numpy(),
        joined["arm"].to_numpy(zero_copy_only=False), _floats(joined["weight"]), predicted, scores, truth, unusable,
        segments,
    )  # fmt: skip


def _labels(joined: pa.Table) -> pa.ChunkedArray:
    """The label; where a sender gave a value instead, the value as a text."""
    values = joined["value"]
    return (
        joined["label"] if values.null_count == len(values) else pc.coalesce(joined["label"], values.cast(pa.string()))
    )


def _probabilities(joined: pa.Table, answers: Answers) -> Array:
    """(rows, classes) float64; NaN where a version gives none."""
    column = joined["probabilities"].combine_chunks()
    made = np.full((len(joined), len(answers.classes)), np.nan)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    fitting = (lengths == len(answers.classes)) & (lengths > 0)
    if fitting.any():
        made[fitting] = pc.list_flatten(column.filter(pa.array(fitting))).to_numpy().reshape(-1, len(answers.classes))
    return made


def _floats(column: Any) -> Array:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), np.float64)
