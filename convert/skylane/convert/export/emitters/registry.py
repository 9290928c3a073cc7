"""Who emits which estimator. A family is added as a module of this package with an `@emits`: it is found by itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor

if TYPE_CHECKING:
    from skylane.convert.export.emitters.emission import Emission

Method = Literal["transform", "predict", "predict_proba", "decision_function"]
"""What is asked of an estimator, in scikit-learn's words; a classifier's `predict` answers places in `classes_`."""

Emitter = Callable[[Any, Features, "Emission"], Features]
"""A fitted estimator and its input → its answers. Raises Declined, or Refused for what can have no graph."""

Family = type | str
"""A class, or where it is found, if its library is not imported here: "lightgbm.sklearn.LGBMRegressor"."""

EMITTERS: dict[tuple[Family, Method], list[Emitter]] = {}
"""Tried in this order until one does not decline."""

Classifier = Callable[[Any, Features, "Emission"], tuple[Tensor, Tensor]]
"""A fitted classifier and its input → the label itself, (rows), and the probabilities, (rows, classes).

Raises Declined, or Refused for what can have no graph.
"""

IN_ONE_NODE: dict[Family, Classifier] = {}


class Declined(Exception):
    """This emitter does not know these settings: somebody else may. The message says what it does not know."""


def emits(method: Method, *families: Family, special: bool = False) -> Callable[[Emitter], Emitter]:
    """Register a function for these estimators. Subclasses are not meant: they may compute something else.

    `special`: asked before others, because it does better where it does not decline.
    """

    def add(emitter: Emitter) -> Emitter:
        for family in families:
            known = EMITTERS.setdefault((family, method), [])
            known.insert(0 if special else len(known), emitter)
        return emitter

    return add


def in_one_node(*families: Family) -> Callable[[Classifier], Classifier]:
    """Register a function that has one node answer all that callers of these classifiers are told."""

    def add(classifier: Classifier) -> Classifier:
        IN_ONE_NODE.update(dict.fromkeys(families, classifier))
        return classifier

    return add


def one_node_of(family: type) -> Classifier | None:
    """Who does it for this class; None if nobody does."""
    return IN_ONE_NODE.get(family) or IN_ONE_NODE.get(_found(family))


def emitters_of(family: type, method: Method) -> list[Emitter]:
    """Who may answer for this class."""
    return EMITTERS.get((family, method)) or EMITTERS.get((_found(family), method), [])


def knows_family(family: type) -> bool:
    """Whether anybody answers for this class, whatever it is asked."""
    return any(known in (family, _found(family)) for known, _ in EMITTERS)


def _found(family: type) -> str:
    return f"{family.__module__}.{family.__qualname__}"
