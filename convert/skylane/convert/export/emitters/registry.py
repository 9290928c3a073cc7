"""Which emitter writes which estimator. A module of this package that uses `@emits` is registered automatically."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor

if TYPE_CHECKING:
    from skylane.convert.export.emitters.emission import Emission

Method = Literal["transform", "predict", "predict_proba", "decision_function"]
"""A method of an estimator, by scikit-learn's name; a classifier's `predict` yields indices into `classes_`."""

Emitter = Callable[[Any, Features, "Emission"], Features]
"""A fitted estimator and its input → its output. Raises Declined, or Refused for what can have no graph."""

Family = type | str
"""A class; or its full name, such as "lightgbm.sklearn.LGBMRegressor", if its library is not imported here."""

EMITTERS: dict[tuple[Family, Method], list[Emitter]] = {}
"""Emitters of each family and method, tried in this order until one does not decline."""

Classifier = Callable[[Any, Features, "Emission"], tuple[Tensor, Tensor]]
"""A fitted classifier and its input → the label itself, (rows), and the probabilities, (rows, classes).

Raises Declined, or Refused for what can have no graph.
"""

IN_ONE_NODE: dict[Family, Classifier] = {}


class Declined(Exception):
    """This emitter does not support these settings; another may. The message says which settings."""


def emits(method: Method, *families: Family, special: bool = False) -> Callable[[Emitter], Emitter]:
    """Register a function for these estimators. Subclasses are not included: they may compute something else.

    `special`: tried before others, because its graph is better where it does not decline.
    """

    def add(emitter: Emitter) -> Emitter:
        for family in families:
            registered = EMITTERS.setdefault((family, method), [])
            registered.insert(0 if special else len(registered), emitter)
        return emitter

    return add


def in_one_node(*families: Family) -> Callable[[Classifier], Classifier]:
    """Register a function that writes label and probabilities of these classifiers as one node."""

    def add(classifier: Classifier) -> Classifier:
        IN_ONE_NODE.update(dict.fromkeys(families, classifier))
        return classifier

    return add


def one_node_of(family: type) -> Classifier | None:
    """The function that does so for this class; None if there is none."""
    return IN_ONE_NODE.get(family) or IN_ONE_NODE.get(_full_name(family))


def emitters_of(family: type, method: Method) -> list[Emitter]:
    """The emitters of this class and method."""
    return EMITTERS.get((family, method)) or EMITTERS.get((_full_name(family), method), [])


def knows_family(family: type) -> bool:
    """Whether there is an emitter for any method of this class."""
    return any(registered in (family, _full_name(family)) for registered, _ in EMITTERS)


def _full_name(family: type) -> str:
    return f"{family.__module__}.{family.__qualname__}"
