"""Arrays of rows → measures with intervals: the monitor's only way to skylane.statistics.performance. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.monitor.labelled_blocks import LabelledRows, concatenated
from skylane.monitor.served_models import Answers
from skylane.monitor.view import Measured

TINY: Final = 1e-15


def headline(answers: Answers) -> str:
    """The measure that comes first."""
    return "log_loss" if answers.task == "classifier" else "rmse"


def measured(rows: LabelledRows, answers: Answers) -> dict[str, float]:
    """Measures of the rows whose outcomes are known."""
    known = rows.where(rows.labelled)
    if not len(known) or answers.task != "classifier":
        return {}
    p = np.clip(known.scores[np.arange(len(known)), known.truth], TINY, 1.0)
    w = known.weights / known.weights.sum()
    base = np.bincount(known.truth, w, len(answers.classes))
    entropy = float(-(base[base > 0] * np.log(base[base > 0])).sum())
    loss = float(-(w * np.log(p)).sum())
    found = {"log_loss": loss, "accuracy": float((w * (known.predicted == known.truth)).sum())}
    if entropy > 0:
        found["skill"] = 1 - loss / entropy
    if answers.positive in answers.classes:
        found["positive_share"] = float(base[answers.classes.index(answers.positive)])
    return found


@dataclass(frozen=True)
class Delays:
    """How long outcomes take, and what else an estimate of those to come needs."""

    now: int
    words: str = ""


def learn(history: LabelledRows, answers: Answers, now: int, horizon_us: int | None) -> Delays:
    """From rows whose outcomes are known."""
    return Delays(now)


def corrected(block: LabelledRows, delays: Delays, answers: Answers) -> tuple[dict[str, Measured], float | None]:
    """Measures of one block, and the share of its labels to come."""
    looks = measured(block, answers)
    done = float(block.labelled.mean()) if len(block) else 1.0
    return {name: Measured(value, value) for name, value in looks.items()}, 1 - done


def to_come(parts: Sequence[LabelledRows], delays: Delays) -> float | None:
    rows = sum(map(len, parts))
    return 1 - sum(float(part.labelled.sum()) for part in parts) / rows if rows else None


def over_blocks(parts: Sequence[LabelledRows], delays: Delays, answers: Answers) -> dict[str, Measured]:
    whole = concatenated(parts)
    return {} if whole is None else {name: Measured(value, value) for name, value in measured(whole, answers).items()}


def estimate_words(blocks: Sequence[tuple[int, LabelledRows]], answers: Answers) -> str:
    return ""


def change_words(blocks: Sequence[tuple[int, LabelledRows]], answers: Answers) -> str:
    return ""
