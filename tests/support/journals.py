"""Journals with known rows, and their files as a crash leaves them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skylane.journal import Capture, Rows, treatments

MODEL = "flights"
WRITER = "9f2c1a7be04d5538"
OTHER_WRITER = "0123456789abcdef"
NOON = 1_700_000_000.0
"""When journals of tests begin."""

COLUMNS = {"distance": False, "delay": False, "carrier": True, "tail": True}


def capture(version: int = 3, model: str = MODEL, **policy: Any) -> Capture:
    """Numbers kept, carrier dropped, tail hashed and the entity."""
    entity = policy.pop("entity", "tail")
    return Capture(
        model=model, version=version, columns=treatments(COLUMNS, **({"hash": ["tail"]} | policy)), entity=entity
    )


def rows(
    first_call: int,
    counts: Sequence[int] = (1,),
    *,
    what: Capture | None = None,
    tails: Sequence[str] | None = None,
    at: float = NOON,
    **extra: Any,
) -> Rows:
    """Calls with consecutive numbers. The distance of a row is its call's number, plus its place in hundredths."""
    total = sum(counts)
    calls = np.arange(first_call, first_call + len(counts))
    places = np.concatenate([np.arange(count) for count in counts]) if total else np.zeros(0)
    return Rows(
        capture=what or capture(),
        calls=calls,
        counts=list(counts),
        happened_at_us=[int(at * 1e6) + int(call) for call in calls],
        inputs={
            "distance": np.repeat(calls, counts) + places / 100,
            "delay": np.full(total, np.nan, np.float32),
            "carrier": np.array(["UA"] * total, object),
            "tail": np.array(tails if tails is not None else ["N1"] * total, object),
        },
        outputs={
            "label": np.array(["late"] * total, object),
            "probabilities": np.tile(np.array([0.25, 0.75], np.float32), (total, 1)),
        },
        **extra,
    )


def crashed(directory: Path, target: Path) -> Path:
    """The files as they would be if all writers were killed now: copies are locked by nobody."""
    directory.mkdir(exist_ok=True)
    shutil.copytree(directory, target)
    return target


def files(directory: Path, suffix: str = "", model: str = MODEL) -> list[Path]:
    """The files of the model's predictions, by name."""
    return sorted(path for path in (directory / "predictions" / model).iterdir() if path.name.endswith(suffix))
