"""The structure of a fitted estimator: its parts, its task, the columns it reads. Knows scikit-learn, not ONNX."""

from collections.abc import Iterator
from typing import Any, Final, Literal, cast

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from skylane.convert.errors import Unconvertible

Task = Literal["classifier", "regressor", "clusterer", "outlier_detector", "transformer"]

VECTORIZERS: Final = (CountVectorizer, HashingVectorizer)  # TfidfVectorizer is one of the former

SEVERAL_QUESTIONS: Final = (
    "the pipeline answers several questions at once (its target had several columns of labels): "
    "train and publish one classifier for each"
)


def task_of(estimator: Any) -> Task:
    """The estimator's task. Raises Unconvertible if it neither predicts nor transforms."""
    _check_usable(estimator)
    if isinstance(getattr(final_of(estimator), "classes_", None), list):
        raise Unconvertible(SEVERAL_QUESTIONS)
    # Outlier detectors first: some are clusterers as well.
    if is_outlier_detector(estimator):
        return "outlier_detector"
    if is_classifier(estimator):
        return "classifier"
    if is_regressor(estimator):
        return "regressor"
    if hasattr(estimator, "predict") and (is_clusterer(estimator) or _is_mixture(estimator)):
        return "clusterer"
    if hasattr(estimator, "transform"):
        return "transformer"
    raise Unconvertible(f"{type(estimator).__name__} can neither predict nor transform new rows: there is no graph")


def _check_usable(estimator: Any) -> None:
    """Raises Unconvertible for estimators that can be fitted but cannot predict for new rows."""
    if isinstance(estimator, type):
        raise Unconvertible(f"{estimator.__name__} is a class: give a fitted estimator, {estimator.__name__}().fit(…)")
    if not isinstance(estimator, BaseEstimator) and not hasattr(estimator, "predict"):
        raise Unconvertible(
            f"expected a fitted estimator of scikit-learn, but it is of type {type(estimator).__name__}"
        )
    if getattr(estimator, "refit", True) is False:
        raise Unconvertible(
            f"{type(estimator).__name__}(refit=False) keeps no fitted pipeline: set refit=True, or train the best one "
            f"yourself and give that"
        )
    if not getattr(final_of(estimator), "novelty", True):
        raise Unconvertible(
            f"{type(final_of(estimator)).__name__}(novelty=False) answers only the rows that it was trained on: "
            f"set novelty=True"
        )


def _is_mixture(estimator: Any) -> bool:
    """Whether it is a mixture model, which predicts the most likely component of a row."""
    return bool(get_tags(estimator).estimator_type == "density_estimator") and hasattr(estimator, "predict_proba")


def reads_bare_texts(estimator: Any) -> bool:
    """Whether the estimator takes a list of texts instead of rows, because a vectorizer comes first."""
    while not isinstance(estimator, VECTORIZERS):
        if isinstance(estimator, Pipeline):
            estimator = first_of(estimator)
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return False
    return True


def column_names(estimator: Any) -> tuple[str, ...] | None:
    """Columns that the estimator was trained with, in order; None if it was trained on an array."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator inside it, at any depth."""
    seen: set[int] = set()
    waiting: list[Any] = [estimator]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple) or (isinstance(part, np.ndarray) and part.dtype == object):
            waiting.extend(part.ravel() if isinstance(part, np.ndarray) else part)
        elif isinstance(part, BaseEstimator):
            yield part
            waiting.extend(vars(part).values())


def front_transformers(estimator: Any) -> list[ColumnTransformer]:
    """Every fitted ColumnTransformer that takes the pipeline's input columns by name."""
    names = column_names(estimator)
    return [
        part
        for part in parts(estimator)
        if isinstance(part, ColumnTransformer) and hasattr(part, "transformers_") and column_names(part) == names
    ]


def branches(transformer: ColumnTransformer) -> list[tuple[str, list[int]]]:
    """A ColumnTransformer's branches with the positions of their columns, without dropped branches."""
    # scikit-learn resolves names, slices, masks and callables to positions in fit, and stores them here.
    positions = cast("dict[str, list[int]]", transformer._transformer_to_input_indices)
    return [
        (name, [int(position) for position in positions[name]])
        for name, part, _ in transformer.transformers_
        if not (isinstance(part, str) and part == "drop") and len(positions[name])
    ]


def columns_read(estimator: Any) -> list[str]:
    """The columns that can affect an answer, in the pipeline's order: without those that every branch drops."""
    names = column_names(estimator) or ()
    front = estimator
    while not isinstance(front, ColumnTransformer):
        if isinstance(front, Pipeline):
            front = first_of(front)
        elif hasattr(front, "best_estimator_"):
            front = front.best_estimator_
        else:
            return list(names)
    used = {position for _, positions in branches(front) for position in positions}
    return [name for position, name in enumerate(names) if position in used]


def passes_on(step: Any) -> bool:
    """Whether a step leaves rows unchanged at prediction, as samplers do, which change only the training rows."""
    return step is None or step == "passthrough" or (hasattr(step, "fit_resample") and not hasattr(step, "transform"))


def first_of(pipeline: Pipeline) -> Any:
    """The first step that changes rows; if there is none, the last step."""
    steps = [step for _, step in pipeline.steps]
    return next((step for step in steps if not passes_on(step)), steps[-1])


def final_of(estimator: Any) -> Any:
    """The final estimator, inside of pipelines and searches."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def has_trees(estimator: Any) -> bool:
    """Whether any part is a decision tree of scikit-learn."""
    return any(hasattr(part, "tree_") for part in parts(estimator))


def tree_nodes(estimator: Any) -> int:
    """Number of nodes in all of scikit-learn's decision trees."""
    return sum(int(part.tree_.node_count) for part in parts(estimator) if hasattr(part, "tree_"))


def shares_leaves(estimator: Any) -> bool:
    """Whether some tree's leaves hold several numbers: for three or more classes, or for several targets."""
    return any(hasattr(part, "tree_") and (part.tree_.n_outputs > 1 or part.tree_.max_n_classes > 2)
               for part in parts(estimator))  # fmt: skip


def rounds_first(estimator: Any) -> bool:
    """Whether scikit-learn rounds every input number to float32 first, as its trees do."""
    if isinstance(estimator, Pipeline):
        return rounds_first(first_of(estimator))
    if hasattr(estimator, "best_estimator_"):
        return rounds_first(estimator.best_estimator_)
    if hasattr(estimator, "tree_"):
        return True
    members = np.asarray(getattr(estimator, "estimators_", ()), dtype=object).ravel()
    return len(members) > 0 and not hasattr(estimator, "final_estimator_") and all(map(rounds_first, members))


def text_columns(estimator: Any) -> frozenset[str]:
    """Columns whose categories were texts in training, even if they look like numbers."""
    text_columns: set[str] = set()
    for transformer in front_transformers(estimator):
        names = column_names(transformer) or ()
        fitted = {name: part for name, part, _ in transformer.transformers_}
        for name, positions in branches(transformer):
            categories = getattr(fitted[name], "categories_", ())
            for position, values in zip(positions, categories, strict=False):
                if any(isinstance(category, str) for category in values):
                    text_columns.add(names[position])
    return frozenset(text_columns)
