"""A stored row: the values of an entity from one instant on, and from each later one at which they change.

Each step is two int64 (from when it holds, when its row happened; microseconds since 1970) and the numbers as float64,
little-endian. Texts are a JSON list with a list for each step.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.features.compiled import CompiledView
from skylane.features.evaluation.rows import Array, Ints, Values

HEADER: Final = 2
_INT, _FLOAT = np.dtype("<i8"), np.dtype("<f8")

StoredRow = tuple[str, bytes, str | None]
"""(entity, numbers, texts)"""


def packed(
    view: CompiledView, keys: Sequence[str], entity: Ints, instants: Ints, values: Values
) -> Iterator[StoredRow]:
    """The rows of entities. `entity`, `instants` (steps,) are sorted by both; `keys` are by number of entity."""
    steps = np.empty((len(entity), HEADER + len(view.numbers)), _FLOAT)
    header = steps.view(_INT)
    header[:, 0], header[:, 1] = instants, values.happened
    for place, feature in enumerate(view.numbers):
        steps[:, HEADER + place] = values.features[feature.name]
    begins = np.flatnonzero(np.diff(entity, prepend=-1)).tolist()
    ends = [*begins[1:], len(entity)][: len(begins)]
    texts = [values.features[feature.name] for feature in view.texts]
    for begin, end in zip(begins, ends, strict=True):
        text = json.dumps([[column[step] for column in texts] for step in range(begin, end)]) if texts else None
        yield keys[entity[begin]], steps[begin:end].tobytes(), text


@dataclass(frozen=True)
class Unpacked:
    """The step of each asked entity that holds at an instant."""

    absent: NDArray[np.bool_]
    """(entities,): nothing holds."""
    happened: Ints
    """(entities,); not defined where absent."""
    numbers: NDArray[np.float64]
    """(entities, numbers); not defined where absent."""
    steps: Ints
    """(entities,) the place among the entity's steps."""


def unpacked(view: CompiledView, blobs: list[bytes], instant: int) -> Unpacked:
    """The steps that hold. An entity without a row has an empty one."""
    width = HEADER + len(view.numbers)
    steps = np.frombuffer(b"".join(blobs), _FLOAT).reshape(-1, width)
    header = steps.view(_INT)
    if len(steps) == len(blobs) and set(map(len, blobs)) == {width * 8}:  # one step each, as most tables have
        absent = header[:, 0] > instant
        return Unpacked(absent, header[:, 1], steps[:, HEADER:], np.zeros(len(blobs), np.int64))
    lengths = np.array([len(blob) for blob in blobs], np.int64) // (width * 8)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    holding = np.zeros(len(steps) + 1, np.int64)
    np.cumsum(header[:, 0] <= instant, out=holding[1:])
    held = holding[ends] - holding[begins]
    absent = held == 0
    if not len(steps):
        steps = np.zeros((1, width), _FLOAT)
        header = steps.view(_INT)
    row = np.where(absent, 0, begins + held - 1)
    return Unpacked(absent, header[row, 1], steps[row, HEADER:], np.maximum(held - 1, 0))


def unpacked_texts(view: CompiledView, texts: list[str | None], steps: Ints, missing: Array) -> dict[str, Array]:
    """Feature → (entities,) texts, None where missing."""
    found: dict[str, Array] = {feature.name: np.full(len(texts), None, object) for feature in view.texts}
    for row, text in enumerate(texts):
        if text is not None and not missing[row]:
            for feature, value in zip(view.texts, json.loads(text)[steps[row]], strict=True):
                found[feature.name][row] = value
    return found
