"""Selects the error to raise when no graph can be built: the reason that the pipeline's author can act on."""

from collections.abc import Sequence
from typing import Any, Final

from sklearn.base import BaseEstimator

from skylane.convert.errors import Defective, Unconvertible
from skylane.convert.inspection.structure import final_of

ASIDE: Final = (
    "no emitter of its own",
    "has an emitter of its own",
    "doubles would gain nothing",
    "skl2onnx splits words",
)
"""Parts of messages that explain why one way of export does not apply; others may still have worked."""


def most_telling(failures: Sequence[Unconvertible], estimator: Any) -> Unconvertible:
    """The error to raise. Errors of the export tools become its cause, not its message."""
    clear = [error for error in failures if not isinstance(error, Defective)]
    ranked = sorted(clear, key=_rank)  # the first of equal ones
    if ranked and _rank(ranked[0]) < ASIDE_RANK:
        return ranked[0]
    error = Unconvertible(
        f"no graph that ONNX Runtime runs can be made of {_described(final_of(estimator))} as it was trained. "
        f"What helps: change its settings, or replace it by another estimator of scikit-learn"
    )
    error.__cause__ = failures[0] if failures else None
    return error


ASIDE_RANK: Final = 2


def _rank(error: Unconvertible) -> int:
    message = str(error)
    if any(reason in message for reason in ASIDE):
        return ASIDE_RANK
    return 0 if "step" in message else 1


def _described(estimator: Any) -> str:
    """The estimator's repr in one line, which has only the parameters that differ from the defaults."""
    text = " ".join(repr(estimator).split()) if isinstance(estimator, BaseEstimator) else type(estimator).__name__
    return text if len(text) <= 120 else f"{type(estimator).__name__}"
