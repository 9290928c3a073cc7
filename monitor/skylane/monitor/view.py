"""What is shown of a model: the same figures for the terminal, the page, the report, JSON and Prometheus. Pure data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final


@dataclass(frozen=True)
class Measured:
    """One measure of some rows: from the labels so far, and with those that are still to come."""

    looks: float | None = None
    """From the labels that were known when the block ended, or are known now if it has not, as if they were all."""
    will_be: float | None = None
    """Corrected for the labels that are still to come. Equal to `looks` where none are."""
    low: float | None = None
    high: float | None = None
    """The 95 % interval of `will_be`. None where there is too little to give one."""
    unsure: str = ""
    """Why there is no interval, or no value, in words."""


@dataclass(frozen=True)
class Figures:
    """Some rows of a model: of a block, a version, an arm, a segment, or several of them together."""

    rows: int
    labelled: int
    to_come: float | None
    """Share of the labels that is expected and not known yet; None while the delays are not learnt."""
    measures: dict[str, Measured] = field(default_factory=dict)
    """By name: log_loss, brier, auc, accuracy, calibration, positive_share; mae, rmse, bias; skill."""
    block: int | None = None
    """Start in microseconds since 1970, if it is one block."""
    blocks: int = 1
    """How many blocks have rows."""
    last_block: int | None = None
    """Start of the latest of them, of a version's figures."""
    version: int | None = None
    arm: str | None = None
    column: str | None = None
    value: str | None = None
    """The segment: rows whose column has this value."""
    closed: bool = True
    """Whether the block has ended."""
    words: str = ""
    """What is unsure, for people: "57 % of the labels still to come"."""
    unusable: int = 0
    """Rows with an outcome whose label is no class of the model, or no number for a regressor."""


@dataclass(frozen=True)
class Cell:
    """One column in one block."""

    column: str
    shade: int
    """0 as in the reference, up to 2; 3 unusual; 4 part of an alarm."""
    psi: float | None
    w1: float | None
    """In standard deviations of the reference; None for texts."""
    missing: float
    words: str


@dataclass(frozen=True)
class DriftBlock:
    """One version in one block."""

    block: int
    version: int
    rows: int
    closed: bool
    status: str
    """ok, note, alarm, too few rows, no reference."""
    words: str
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Alarm:
    """One alarm of a model in a block, as it was reported."""

    block: int
    version: int
    recorded_at: int
    columns: tuple[str, ...]
    kind: str
    words: str


@dataclass(frozen=True)
class Episode:
    """Alarms of blocks in a row about the same thing."""

    first: Alarm
    """Whose words named it."""
    last: int
    """Start of the last block."""
    blocks: int


@dataclass(frozen=True)
class ModelView:
    """Everything about one model, as known at an instant."""

    model: str
    at: int
    """The instant, in microseconds since 1970."""
    block_us: int
    task: str
    headline: str
    """The measure that comes first."""
    positive: str | None
    blocks: tuple[Figures, ...]
    versions: tuple[Figures, ...]
    segments: tuple[Figures, ...]
    """The worst first."""
    drift: tuple[DriftBlock, ...]
    alarms: tuple[Alarm, ...]
    """The latest first."""
    notes: tuple[str, ...]
    """What is no alarm and should be known: the season, slow changes, what cannot be told."""
    horizon: str = ""
    """When the labels are known, in words."""
    estimate: str = ""
    """The estimate without labels, in words."""
    change: str = ""
    """Whether inputs or the world changed, in words."""
    unjudged: str = ""
    """Why there is no performance, in words; empty if there is."""
    empty: str = "No rows have been recorded of this model yet."
    """What to say if there are no blocks, in words."""
    empty_drift: str = "No rows have been recorded of this model yet."
    """What to say if there are no verdicts, in words."""
    unusable_labels: int = 0
    """Rows with an outcome whose label is no class of the model; `problems` names the labels."""
    excluded: dict[str, int] = field(default_factory=dict)
    """Reason → rows that count in no figure: degraded, sampled away."""
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values, with instants as ISO 8601."""
        made: dict[str, Any] = _with_instants(asdict(self))
        return made


INSTANTS = frozenset({"at", "block", "last_block", "recorded_at"})


def _with_instants(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _with_instants(each, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_instants(each) for each in value]
    return instant_text(value) if name in INSTANTS and isinstance(value, int) else value


def instant_text(us: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def block_text(us: int, block_us: int) -> str:
    """A block as people name it: a day by its date, a shorter one with its time."""
    at = datetime.fromtimestamp(us / 1e6, UTC)
    return f"{at:%Y-%m-%d}" if block_us % 86_400_000_000 == 0 else f"{at:%Y-%m-%d %H:%M}"


NAMES: dict[str, str] = {
    "log_loss": "log loss", "brier": "Brier score", "auc": "AUC", "accuracy": "accuracy", "calibration": "calibration",
    "positive_share": "share of positives", "mae": "MAE", "rmse": "RMSE", "bias": "bias", "skill": "skill",
    "worse_by": "worse by",
}  # fmt: skip
"""Measure → how people call it."""
SHARES = frozenset({"accuracy", "positive_share"})
"""Measures that are shown as percentages."""


def period_text(episode: Episode, block_us: int) -> str:
    """Its first block, and its last one if there are several."""
    first = block_text(episode.first.block, block_us)
    return first if episode.blocks == 1 else f"{first} to {block_text(episode.last, block_us)}"


def measure_text(name: str, value: float | None) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    return f"{value * 100:.1f} %" if name in SHARES else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def interval_text(name: str, measured: Measured) -> str:
    """The interval as people read it; a dash where there is none."""
    if measured.low is None or measured.high is None:
        return "–"
    if name in SHARES:
        return f"{measured.low * 100:.1f}–{measured.high * 100:.1f} %"
    return f"{measured.low:.3f} to {measured.high:.3f}"


def share_text(share: float | None) -> str:
    """A share in per cent; "under 1 %" rather than a zero that is none."""
    if share is None:
        return "–"
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{share * 100:.0f} %"


def to_come_text(to_come: float | None, rows: int, labelled: int, unusable: int = 0) -> str:
    """What is unsure about the labels, in words."""
    if unusable:
        wrong = f"{unusable:,} {'label' if unusable == 1 else 'labels'} cannot be used"
        settled = to_come is not None and to_come < 0.0005
        if settled and labelled + unusable >= rows:
            return wrong
        return f"{wrong}; {to_come_text(to_come, rows, labelled)}"
    if rows == 0:
        return "no rows"
    if to_come is None:
        return f"labels of {labelled:,} of {rows:,} rows; when the others come is not known yet"
    if to_come < 0.0005:
        return (
            "all labels known" if labelled >= rows else f"{share_text(labelled / rows)} have labels; no more expected"
        )
    return f"{share_text(to_come)} of labels still to come"


def episodes(alarms: Sequence[Alarm]) -> list[Episode]:
    """Alarms by what they are about, the latest first. A gap of a few blocks is bridged."""
    made: list[Episode] = []
    length = min(
        (abs(one.block - other.block) for one, other in pairwise(alarms) if one.block != other.block), default=0
    )
    for alarm in sorted(alarms, key=lambda alarm: alarm.block):
        open_ones = [
            place for place, episode in enumerate(made)
            if alarm.block - episode.last <= BRIDGED * length and _continues(episode.first, alarm)
        ]  # fmt: skip
        if open_ones:
            place = min(open_ones, key=lambda place: len(made[place].first.columns))
            made[place] = Episode(made[place].first, alarm.block, made[place].blocks + 1)
        else:
            made.append(Episode(alarm, alarm.block, 1))
    return sorted(made, key=lambda episode: (episode.last, episode.first.block), reverse=True)


BRIDGED: Final = 3
"""Blocks between two alarms that still count as one episode."""


def _continues(first: Alarm, alarm: Alarm) -> bool:
    """Whether an alarm is about what an earlier one named, or a part of it: a column more is another fault."""
    same_kind = alarm.kind == first.kind or alarm.columns[:1] != first.columns[:1]
    return alarm.version == first.version and same_kind and set(alarm.columns) <= set(first.columns)


def segment_text(figures: Figures) -> str:
    """A segment as people name it."""
    return f"{figures.column} {'is missing' if figures.value in ('', 'nan') else f'= {figures.value}'}"


def worst_first(segments: Sequence[Figures]) -> list[Figures]:
    """Segments that are worse than the rest beyond chance first, then by how much worse they are."""

    def key(figures: Figures) -> tuple[bool, float]:
        worse = figures.measures.get("worse_by", Measured())
        return worse.low is not None and worse.low > 0, -1e300 if worse.will_be is None else worse.will_be

    return sorted(segments, key=key, reverse=True)
