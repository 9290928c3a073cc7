"""What a process remembers of recorded outcomes, to say which are repeated or corrected, and to bound corrections and
unknown ids. The log decides what holds; this only counts and refuses. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from skylane.outcomes.checks import REFUSALS_MAX, Checked, Refusal

KEYS_MAX: Final = 100_000
"""Keys that are remembered, of all models together. What was recorded before them is counted as new."""
CORRECTIONS_MAX: Final = 100
"""Corrections of one outcome; more are refused."""
UNKNOWN_MAX: Final = 100_000
"""Outcomes of one sender for one model with ids that no server of this directory has given; more are refused."""


@dataclass
class Tally:
    """What became of the rows of one submission."""

    places: list[int] = field(default_factory=list)
    """Rows of the checked table that are to be recorded."""
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)


class RecordedOutcomes:
    """Keys and contents that were recorded, the newest ones."""

    def __init__(self, keys_max: int = KEYS_MAX, unknown_max: float = UNKNOWN_MAX) -> None:
        self.keys_max, self._unknown_max = keys_max, unknown_max
        self._contents: dict[int, int] = {}
        """Hash of a key → hash of the content recorded last."""
        self._corrections: dict[int, int] = {}
        self._unknown: dict[tuple[str, str], int] = {}
        """(model, sender) → outcomes with unknown ids."""

    def remember(self, model: str, log: Any) -> None:
        """Take over records of a log, oldest first."""
        for (key, content, _), dropped in zip(_rows(model, log), log["drops_from"].is_valid().to_pylist(), strict=True):
            if not dropped:
                self._put(key, content)

    def add(self, model: str, sender: str, checked: Checked, is_known: Callable[[str], bool]) -> Tally:
        """Classify the accepted rows. `is_known`: whether a prediction id is of a server of this directory."""
        tally, indices = Tally(), checked.places
        unknown = self._unknown.get((model, sender), 0)
        for place, (key, content, prediction_id) in enumerate(_rows(model, checked.table)):
            is_unknown = prediction_id is not None and not is_known(prediction_id)
            before = self._contents.get(key)
            too_many_unknown = is_unknown and before is None and unknown >= self._unknown_max
            reason = self._refusal(key, before, content, too_many_unknown=too_many_unknown)
            if reason is not None:
                tally.refused += 1
                if len(tally.refusals) < REFUSALS_MAX:
                    tally.refusals.append(Refusal(int(indices[place]), reason))
                continue
            tally.places.append(place)
            tally.unknown += is_unknown
            unknown += is_unknown and before is None
            tally.repeated += before == content
            tally.corrected += before not in (None, content)
            self._put(key, content)
        if unknown:
            self._unknown[model, sender] = unknown
        return tally

    def _refusal(self, key: int, before: int | None, content: int, *, too_many_unknown: bool) -> str | None:
        """Why an outcome may not be recorded; None if it may."""
        if too_many_unknown:
            return (
                f"prediction_id: expected the id of a prediction made here; {self._unknown_max} unknown ids of "
                "this sender are recorded already"
            )
        if before not in (None, content) and self._corrections.get(key, 0) >= CORRECTIONS_MAX:
            return f"label, value: expected at most {CORRECTIONS_MAX} corrections of an outcome, received another one"
        return None

    def _put(self, key: int, content: int) -> None:
        before = self._contents.get(key)
        if before is None and len(self._contents) >= self.keys_max:
            oldest = next(iter(self._contents))
            del self._contents[oldest]
            self._corrections.pop(oldest, None)
        if before not in (None, content):
            self._corrections[key] = self._corrections.get(key, 0) + 1
        self._contents[key] = content


def _rows(model: str, table: Any) -> Any:
    """Hash of the key, hash of the content, and prediction id of each row."""
    texts = [table[name].to_pylist() for name in ("prediction_id", "row", "entity", "label", "value")]
    times = [table[name].cast("int64").to_pylist() for name in ("event_at", "happened_at")]
    for prediction_id, row, entity, label, value, event_at, happened_at in zip(*texts, *times, strict=True):
        key = hash((model, prediction_id, row, entity, event_at))
        yield key, hash((label, value, happened_at)), prediction_id
