"""The state → what is shown. Figures as of an earlier instant are computed anew from the rows and the outcomes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane.monitor import drift_verdicts, performance_figures
from skylane.monitor.served_models import ServedModels, block_us
from skylane.monitor.state import State
from skylane.monitor.view import ModelView, block_text, instant_text, worst_first

UNJUDGED: Final = (
    "Outcomes cannot tell how well it does: it is no regressor, and the classes of its probabilities are not known. "
    "Set classes under [monitor] in model.toml."
)

NO_ROWS: Final = "No rows of this selection have been recorded yet."
NO_REFERENCE: Final = (
    "Nothing to compare its rows with: no version has a reference. Write one with `skylane profile MODEL/VERSION "
    "--data FILE`."
)
NO_VERDICT: Final = "No block of this selection has been compared with the reference yet."


@dataclass(frozen=True)
class Selection:
    """Which rows are shown, and as known when."""

    version: int | None = None
    since: int | None = None
    """Microseconds since 1970: blocks that begin then or later."""
    segment: str | None = None
    """COLUMN or COLUMN=VALUE."""
    as_known: int | None = None
    """Microseconds since 1970; None: as of the last pass."""


def views_of(state: State, repository: Path, now: int, selection: Selection | None = None) -> list[ModelView]:
    """All models that have rows."""
    return [view_of(state, repository, model, now, selection or Selection()) for model in state.models()]


def view_of(state: State, repository: Path, model: str, now: int, selection: Selection) -> ModelView:
    """Everything about one model."""
    models = ServedModels(repository)
    policy = models.refresh(model)
    length = block_us(policy)
    at = (state.position("computed", "", model) or {}).get("at", now)
    if selection.as_known is not None:
        at = selection.as_known
    shown = performance_figures.shown(
        state, models, model, at, version=selection.version, since=selection.since, segment=selection.segment,
        as_known=selection.as_known,
    )  # fmt: skip
    drift = [
        block
        for block in drift_verdicts.drift_blocks(state, model)
        if (selection.version is None or block.version == selection.version)
        and (selection.since is None or block.block >= selection.since)
        and (block.block < at if selection.as_known is None else block.block + length <= at)
    ]
    alarms = [
        alarm
        for alarm in drift_verdicts.alarms(state, model)
        if (selection.version is None or alarm.version == selection.version)
        and (selection.since is None or alarm.block >= selection.since)
        and alarm.block + length <= at
    ]
    references = {version: models.reference(model, version) for version in state.versions(model)}
    empty = _empty(state, model, at, length, selection)
    return ModelView(
        model=model,
        at=at,
        block_us=length,
        task=shown.answers.task,
        headline=shown.headline,
        positive=shown.answers.positive,
        blocks=tuple(shown.blocks),
        versions=tuple(shown.versions),
        segments=tuple(worst_first(shown.segments)),
        drift=tuple(drift),
        alarms=tuple(alarms),
        notes=tuple(drift_verdicts.notes(drift, references, length)),
        horizon=shown.horizon,
        estimate=shown.estimate,
        change=shown.change,
        unjudged="" if shown.answers.can_be_judged else UNJUDGED,
        empty="" if shown.blocks else empty or NO_ROWS,
        empty_drift="" if drift else empty or (NO_VERDICT if any(references.values()) else NO_REFERENCE),
        excluded=state.excluded(model),
        unusable_labels=shown.unusable,
        problems=(
            *(f"{name}: {problem}" for name, problem in models.problems.items()),
            *([f"{model}: {shown.unusable_words}"] if shown.unusable_words else []),
        ),
    )


def _empty(state: State, model: str, at: int, length: int, selection: Selection) -> str:
    """Why a selection has no rows, in words; empty if it may have some."""
    versions = state.versions(model)
    if selection.version is not None and selection.version not in versions:
        there = f"there are rows of {', '.join(map(str, versions))}" if versions else "there are no rows yet"
        return f"No rows of version {selection.version}; {there}."
    blocks = [block for block, _ in state.blocks(model)]
    if selection.version is not None:
        of_version = set(state.input_blocks(model, selection.version))
        blocks = [block for block in blocks if block in of_version]
    of = "" if selection.version is None else f" of version {selection.version}"
    past = [block for block in blocks if block < at]
    if blocks and not past:
        return f"No rows{of} before {instant_text(at)}; the first are of {block_text(blocks[0], length)}."
    if past and selection.since is not None and past[-1] < selection.since:
        return (
            f"No block{of} that begins at {instant_text(selection.since)} or later has rows; the last rows are of "
            f"{block_text(past[-1], length)}."
        )
    return ""
