"""Estimators that pass rows on to others: pipelines, column transformers, unions, searches, frozen estimators."""

from typing import Any, Final

from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import Emitter, Method, emits
from skylane.convert.export.emitters.sparse import answers_sparse
from skylane.convert.inspection.structure import branches, passes_on

HALVING: Final = (
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
)
"""Searches that exist only after `enable_halving_search_cv` was imported, so they are given by name."""

ALL: tuple[Method, ...] = ("transform", "predict", "predict_proba", "decision_function")


def _through_steps(method: Method) -> Emitter:
    def emit(pipeline: Any, features: Features, emission: Emission) -> Features:
        steps = [(name, step) for name, step in pipeline.steps if not passes_on(step)]
        sparse = emission.sparse
        for place, (name, step) in enumerate(steps):
            with emission.rows(sparse=sparse):
                step_method = method if place == len(steps) - 1 else "transform"
                features = emission.emit(step, step_method, features, step=name)
            sparse = answers_sparse(step, sparse)
        return features

    return emit


def _by_best(method: Method) -> Emitter:
    def emit(search: Any, features: Features, emission: Emission) -> Features:
        return emission.emit(search.best_estimator_, method, features)

    return emit


def _by_frozen(method: Method) -> Emitter:
    def emit(frozen: Any, features: Features, emission: Emission) -> Features:
        return emission.emit(frozen.estimator, method, features, step="")

    return emit


def _by_trained(method: Method) -> Emitter:
    def emit(model: Any, features: Features, emission: Emission) -> Features:
        return emission.emit(model.estimator_, method, features)

    return emit


for _method in ALL:
    emits(_method, Pipeline, "imblearn.pipeline.Pipeline")(_through_steps(_method))
    emits(_method, GridSearchCV, RandomizedSearchCV, *HALVING)(_by_best(_method))
    emits(_method, FrozenEstimator)(_by_frozen(_method))
    if _method != "transform":
        emits(_method, SelfTrainingClassifier)(_by_trained(_method))


@emits("transform", ColumnTransformer)
def columns(transformer: Any, features: Features, emission: Emission) -> Features:
    """Each branch gets its columns; their outputs are concatenated."""
    fitted = {name: part for name, part, _ in transformer.transformers_}
    outputs = []
    for name, positions in branches(transformer):
        taken, part = features.take(positions), fitted[name]
        outputs.append(taken if part == "passthrough" else emission.emit(part, "transform", taken, step=name))
    return side_by_side(outputs, transformer.transformer_weights, [name for name, _ in branches(transformer)], emission)


@emits("transform", FeatureUnion)
def union(transformer: Any, features: Features, emission: Emission) -> Features:
    """Each part gets all columns; their outputs are concatenated."""
    parts = [(name, part) for name, part in transformer.transformer_list if part is not None and part != "drop"]
    outputs = [
        features if part == "passthrough" else emission.emit(part, "transform", features, step=name)
        for name, part in parts
    ]
    return side_by_side(outputs, transformer.transformer_weights, [name for name, _ in parts], emission)


def side_by_side(
    outputs: list[Features], weights: dict[str, float] | None, names: list[str], emission: Emission
) -> Features:
    """The outputs concatenated, each multiplied by its weight; deferred products are computed first."""
    weighted = [one.then("Mul", (weights or {})[name]) if name in (weights or {}) else one
               for name, one in zip(names, outputs, strict=True)]  # fmt: skip
    settled = [one if one.matrix is None else Features.of(emission.tensor(one)) for one in weighted]
    return Features.joined(settled)
