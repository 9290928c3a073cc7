"""Outcomes that a caller sends, column by column, whatever the protocol. Pure."""

from dataclasses import dataclass, field
from typing import Final

OUTCOMES_MAX: Final = 10_000
"""Outcomes of one request."""


@dataclass(kw_only=True)
class OutcomeColumns:
    """One value for each outcome in every column; None where none was sent. Times are microseconds since 1970."""

    prediction_id: list[str | None] = field(default_factory=list)
    row: list[int | None] = field(default_factory=list)
    entity: list[str | None] = field(default_factory=list)
    event_at: list[int | None] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    happened_at: list[int | None] = field(default_factory=list)
    known_at: list[int | None] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    """Index → why a value of this outcome could not be read."""

    def __len__(self) -> int:
        return len(self.prediction_id)
