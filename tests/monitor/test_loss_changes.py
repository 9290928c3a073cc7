"""What changed the loss: a version or labels are named before inputs or the world are blamed."""

from typing import Any

import numpy as np
import pytest

from skylane.monitor import estimators
from skylane.monitor.labelled_blocks import NEVER, LabelledRows
from skylane.monitor.loss_changes import change_words
from skylane.monitor.served_models import Answers

DAY_US = 86_400_000_000
ANSWERS = Answers(task="classifier", classes=("early", "late"), positive="late")


def rows_of(day: int, *, version: int = 1, labelled: float = 1.0, shuffled: bool = False) -> LabelledRows:
    random = np.random.default_rng(day)
    at = day * DAY_US + np.arange(200, dtype=np.int64)
    late = random.uniform(0.05, 0.95, 200)
    truth = (random.uniform(size=200) < (late[::-1] if shuffled else late)).astype(np.int64)
    known = np.arange(200) < 200 * labelled
    ones = np.ones(200)
    return LabelledRows(
        at, np.where(known, at + 1, NEVER), np.full(200, version), np.full(200, "", object), ones,
        (late > 0.5).astype(np.int64), np.stack([1 - late, late], axis=1), np.where(known, truth, -1),
        np.full(200, None), {},
    )  # fmt: skip


def words(latest: dict[str, Any]) -> str:
    blocks = [(day * DAY_US, rows_of(day, **(latest if day >= 20 else {}))) for day in range(34)]
    delays = estimators.learn(blocks, ANSWERS, 90 * DAY_US, DAY_US, DAY_US)
    return change_words(blocks, ANSWERS, delays)


@pytest.mark.parametrize(
    ("latest", "says", "blames"),
    [
        pytest.param({}, "because other rows are asked about", True, id="the same version and labels are split"),
        pytest.param({"version": 2}, "another version answers (more rows by 2, fewer by 1)", False, id="a version"),
        pytest.param({"labelled": 0.1}, "10 % of the rows have labels, 100 % before", False, id="few labels"),
        pytest.param({"labelled": 0.0}, "0 % of the rows have labels, 100 % before", False, id="no labels"),
        pytest.param({"shuffled": True}, "labels that belong to other rows would look the same", True, id="mixed ids"),
    ],
)
def test_what_changed_is_said_as_far_as_it_can_be_known(latest: dict[str, Any], says: str, blames: bool) -> None:
    found = words(latest)
    assert says in found
    assert ("because other rows" in found) == blames
