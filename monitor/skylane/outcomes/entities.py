"""Entities of outcomes in the form in which the journal has them: hashed, if it hashes the column that names them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from skylane.journal import layout
from skylane.journal.hashing import hash_column, make_key
from skylane.journal.predictions import capture_of

LISTED_S: Final = 10.0
"""How often the newest segment of predictions is looked up at most."""


class EntityForms:
    """Which models' entities are hashed in one directory."""

    def __init__(self, directory: Path, now: Callable[[], float]) -> None:
        self._directory, self._now = directory, now
        self._hashed: dict[str, tuple[float, bool]] = {}
        """Model → when it was looked up, and whether its entities are hashed."""

    def applied(self, model: str, table: Any) -> Any:
        """The table with its entities as the journal has them. Raises OSError and JournalError."""
        if table["entity"].null_count == len(table) or not self._is_hashed(model):
            return table
        place = table.schema.get_field_index("entity")
        hashed = hash_column(make_key(self._directory), table["entity"].combine_chunks())
        return table.set_column(place, table.schema.field(place), hashed)

    def _is_hashed(self, model: str) -> bool:
        at, hashed = self._hashed.get(model, (float("-inf"), False))
        if not 0 <= self._now() - at < LISTED_S:
            hashed = _hashes(self._directory / layout.PREDICTIONS / model)
            self._hashed[model] = self._now(), hashed
        return hashed


def _hashes(directory: Path) -> bool:
    """Whether the newest predictions of a model have hashes as entities."""
    for segment in reversed(layout.segments(directory)):
        for path in (segment.path, segment.path.with_suffix(layout.CLOSED)):
            try:
                with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
                    capture = capture_of(stream.schema)
            except FileNotFoundError:
                continue  # closed or removed meanwhile
            return capture.entity is not None and capture.treatment(capture.entity) == "hashed"
    return False
