"""Keys of entities: each has one text, the same for every file and for the online store."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.features.errors import SourceError
from skylane.features.evaluation.rows import Ints
from skylane.features.online.keys import key_text
from skylane.features.training.columns import is_text

COMBINATIONS_MAX: Final = 2**62


def key_column(column: Any, where: str) -> Any:
    """The texts of a key's column: texts as they are, whole numbers in decimal digits."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        if not pa.types.is_integer(column.type):
            raise SourceError(f"{where}: expected a key of texts or whole numbers, received {column.type}")
        column = column.cast(pa.string())
    return column.cast(pa.string())


class Keys:
    """The different keys of a source, numbered."""

    def __init__(self, columns: Sequence[Any]) -> None:
        """`columns`: chunked arrays of texts, without nulls."""
        self._uniques = [pc.unique(column) for column in columns]
        if math.prod(max(1, len(unique)) for unique in self._uniques) >= COMBINATIONS_MAX:
            raise SourceError("entity: expected fewer different values in its columns: write them into one column")
        self.codes = self._combined(columns)
        self._known: Ints | None = None
        self.count = len(self._uniques[0])
        if len(columns) > 1:
            self._known, codes = np.unique(self.codes, return_inverse=True)
            self.codes, self.count = codes.astype(np.int64), len(self._known)

    def find(self, columns: Sequence[Any]) -> Ints:
        """The number of each key, −1 for one that the source does not have."""
        combined = self._combined(columns)
        if self._known is None:
            return combined
        if not self.count:
            return np.full(len(combined), -1, np.int64)
        place = np.minimum(np.searchsorted(self._known, combined), self.count - 1)
        return np.where((self._known[place] == combined) & (combined >= 0), place, -1)

    def texts(self) -> list[str]:
        """The text of each key, by number."""
        if self._known is None:
            return [str(text) for text in self._uniques[0].to_pylist()]
        parts: list[list[str]] = []
        rest = self._known
        for unique in reversed(self._uniques):
            rest, place = np.divmod(rest, max(1, len(unique)))
            parts.append(unique.take(pa.array(place)).to_pylist())
        return [key_text(values) for values in zip(*reversed(parts), strict=True)]

    def _combined(self, columns: Sequence[Any]) -> Ints:
        total: Ints = np.zeros(len(columns[0]), np.int64)
        absent = np.zeros(len(total), np.bool_)
        for column, unique in zip(columns, self._uniques, strict=True):
            place = np.array(pc.fill_null(pc.index_in(column, value_set=unique), -1).to_numpy(), np.int64)
            absent |= place < 0
            total = total * max(1, len(unique)) + place
        total[absent] = -1
        return total
