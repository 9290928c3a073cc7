"""What changed between the latest blocks and those before, in words: version, labels, inputs or world."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from skylane.monitor.estimators import Delays, plain_measures, sums_of
from skylane.monitor.labelled_blocks import LabelledRows
from skylane.monitor.served_models import Answers
from skylane.statistics.performance import ClassificationSums, loss_change, total

CHANGE_BLOCKS: Final = 14
"""The latest settled blocks, which are compared with those before."""
VERSIONS_DIFFER: Final = 0.1
"""Total variation of the versions' shares of the rows, from which another version answers."""
LABELS_FEWER: Final = 0.5
"""Part of the usual share of rows with labels, below which the labels of a period are too few."""
AUC_FALL: Final = 0.1
"""Fall of the AUC from which labels of other rows are as likely a cause as the world."""

Blocks = Sequence[tuple[int, LabelledRows]]


def change_words(blocks: Blocks, answers: Answers, delays: Delays) -> str:
    """Why the loss of the latest settled blocks differs from that of the blocks before, as far as it can be known."""
    if answers.task != "classifier":
        return ""
    settled = [(rows, sums_of(rows, answers)) for block, rows in blocks if delays.is_settled(block) and len(rows)]
    if len(settled) < 2 * CHANGE_BLOCKS:
        return ""
    before, latest = settled[:-CHANGE_BLOCKS], settled[-CHANGE_BLOCKS:]
    then, now = (total([each for _, each in part if isinstance(each, ClassificationSums)]) for part in (before, latest))
    periods = f"The latest {len(latest)} settled blocks against the {len(before)} before"
    shares = [_labelled([rows for rows, _ in part]) for part in (before, latest)]
    if not then.rows or not now.rows or shares[1] < LABELS_FEWER * shares[0]:
        return (
            f"{periods}: {shares[1] * 100:.0f} % of the rows have labels, {shares[0] * 100:.0f} % before. "
            "With so few, what changed the loss cannot be known."
        )
    change = loss_change(then, now)
    version = _other_version([rows for rows, _ in before], [rows for rows, _ in latest])
    if version:
        rose = "rose" if change.change > 0 else "fell"
        return (
            f"{periods}: another version answers ({version}) and the loss {rose} by {abs(change.change):.4f}. "
            "What inputs and the world did beside it cannot be told apart from the version."
        )
    return f"{periods}: {change.words}.{_doubt(then, now)}"


def _labelled(parts: Sequence[LabelledRows]) -> float:
    return sum(int(rows.labelled.sum()) for rows in parts) / sum(map(len, parts))


def _other_version(before: Sequence[LabelledRows], latest: Sequence[LabelledRows]) -> str:
    """The versions that answer more rows than before, and those that answer fewer; empty if hardly any row differs."""
    then, now = (np.concatenate([rows.versions for rows in part]) for part in (before, latest))
    names = np.union1d(then, now)
    moved = np.array([(now == name).mean() - (then == name).mean() for name in names])
    if np.abs(moved).sum() / 2 < VERSIONS_DIFFER:
        return ""
    more, fewer = (", ".join(str(name) for name in names[sign * moved > 0]) for sign in (1, -1))
    return f"more rows by {more}, fewer by {fewer}"


def _doubt(then: ClassificationSums, now: ClassificationSums) -> str:
    """That the outcomes may be at fault, where the order of the answers is lost."""
    was, auc = (plain_measures(each).get("auc") for each in (then, now))
    if was is None or auc is None or was - auc < AUC_FALL:
        return ""
    return (
        f" The AUC fell from {was:.2f} to {auc:.2f}: labels that belong to other rows would look the same, so compare "
        "the ids of outcomes and rows first."
    )
