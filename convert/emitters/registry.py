"""Who emits which estimator. A family is added as a module of this package with an `@emits`: it is found by itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from convert.emitters.features import Features

if TYPE_CHECKING:
    from convert.emitters.emission import Emission

Method = Literal["transform", "predict", "predict_proba", "decision_function"]
"""What is asked of an estimator, in scikit-learn's words; a classifier's `predict` answers places in `classes_`."""

Emitter = Callable[[Any, Features, "Emission"], Features]
"""A fitted estimator and its input → its answers. Raises Declined, or Unconvertible for what can have no graph."""

EMITTERS: dict[tuple[type, Method], Emitter] = {}


class Declined(Exception):
    """This emitter does not know these settings: somebody else may. The message says what it does not know."""


def emits(method: Method, *families: type) -> Callable[[Emitter], Emitter]:
    """Register a function for these estimators. Subclasses are not meant: they may compute something else."""

    def add(emitter: Emitter) -> Emitter:
        for family in families:
            assert (family, method) not in EMITTERS, f"{family.__name__}.{method} has an emitter already"
            EMITTERS[family, method] = emitter
        return emitter

    return add
