"""Ensembles of other estimators: averages, votes, stacks and one model for each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.bayes import softmax
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.functions import apply
from skylane.convert.export.emitters.kernels import with_confidence
from skylane.convert.export.emitters.registry import Method, emits
from skylane.convert.inspection.schema import Array


def averaged(several: Sequence[Features], emission: Emission, weights: Any = None) -> Features:
    """The mean of outputs of the same width."""
    share = np.ones(len(several)) if weights is None else np.asarray(weights, dtype=np.float64)
    eye = np.eye(several[0].width)
    return emission.mixed(several, [eye * one for one in share / share.sum()])


def member_outputs(
    members: Sequence[tuple[str, Any]], method: Method, features: Features, emission: Emission
) -> list[Features]:
    """Each member's output."""
    return [emission.emit(member, method, features, step=name) for name, member in members]


def named(members: Any) -> list[tuple[str, Any]]:
    """Numbered names for members that have none."""
    return [(f"{type(member).__name__}[{place}]", member) for place, member in enumerate(members)]


def voters(vote: Any) -> list[tuple[str, Any]]:
    """The members that were trained, with their names."""
    names = [name for name, member in vote.estimators if not (isinstance(member, str) and member == "drop")]
    return list(zip(names, vote.estimators_, strict=True))


@emits("predict", VotingRegressor)
def mean(vote: Any, features: Features, emission: Emission) -> Features:
    """The weighted mean."""
    return averaged(member_outputs(voters(vote), "predict", features, emission), emission, vote._weights_not_none)


@emits("predict_proba", VotingClassifier)
def soft(vote: Any, features: Features, emission: Emission) -> Features:
    """The weighted mean of probabilities."""
    return averaged(member_outputs(voters(vote), "predict_proba", features, emission), emission, vote._weights_not_none)


@emits("predict", VotingClassifier)
def voted(vote: Any, features: Features, emission: Emission) -> Features:
    """The class with the most votes, or with the highest mean probability."""
    if vote.voting == "soft":
        return emission.likeliest(emission.emit(vote, "predict_proba", features))
    votes, classes = member_outputs(voters(vote), "predict", features, emission), len(vote.classes_)
    weights = vote._weights_not_none or [1.0] * len(votes)
    return emission.likeliest(counted(votes, [np.eye(classes) * weight for weight in weights], emission))


def counted(votes: Sequence[Features], tables: Sequence[Array], emission: Emission) -> Features:
    """Each vote is the index of a class; the sum of the tables' rows with these indices."""
    coded = [
        Features.coded(emission.vector(vote, "int64"), len(table)) for vote, table in zip(votes, tables, strict=True)
    ]
    return Features.joined(coded).times(np.concatenate(tables))


@emits("predict", StackingRegressor)
def stacked_regression(stack: Any, features: Features, emission: Emission) -> Features:
    """The final estimator's output for those of the members."""
    return _final(stack, "predict", features, emission)


@emits("predict", StackingClassifier)
def stacked_decided(stack: Any, features: Features, emission: Emission) -> Features:
    """The final estimator's output for those of the members."""
    return _final(stack, "predict", features, emission)


@emits("predict_proba", StackingClassifier)
def stacked_probabilities(stack: Any, features: Features, emission: Emission) -> Features:
    """The final estimator's output for those of the members."""
    return _final(stack, "predict_proba", features, emission)


@emits("decision_function", StackingClassifier)
def stacked_scores(stack: Any, features: Features, emission: Emission) -> Features:
    """The final estimator's output for those of the members."""
    return _final(stack, "decision_function", features, emission)


def _final(stack: Any, method: Method, features: Features, emission: Emission) -> Features:
    inner = emission.emit(stack, "transform", features, step="")
    with emission.rows(sparse=emission.sparse and stack.passthrough):
        return emission.emit(stack.final_estimator_, method, inner, step="final_estimator")


@emits("transform", StackingClassifier, StackingRegressor)
def stack_of_answers(stack: Any, features: Features, emission: Emission) -> Features:
    """The members' outputs concatenated, with their input if `passthrough` is set."""
    names = [name for name, member in stack.estimators if not (isinstance(member, str) and member == "drop")]
    outputs = []
    for name, member, method in zip(names, stack.estimators_, stack.stack_method_, strict=True):
        output = emission.emit(member, method, features, step=name)
        if method == "predict_proba" and output.width == 2:
            output = output.take([1])
        if method == "predict" and is_classifier(member):
            output = Features.of(emission.cast(emission.vector(output)))
        outputs.append(output)
    return emission.beside([*outputs, features] if stack.passthrough else outputs)


@emits("predict", BaggingRegressor)
def bagged_mean(bag: Any, features: Features, emission: Emission) -> Features:
    """The mean of members each of which gets some of the columns."""
    return averaged(_bagged(bag, "predict", features, emission), emission)


@emits("predict_proba", BaggingClassifier)
def bagged_shares(bag: Any, features: Features, emission: Emission) -> Features:
    """The mean of the members' probabilities, or of their votes."""
    members, classes = bag.estimators_, len(bag.classes_)
    places = [np.eye(classes)[np.asarray(member.classes_, dtype=np.int64)] / len(members) for member in members]
    if all(hasattr(member, "predict_proba") for member in members):
        return emission.mixed(_bagged(bag, "predict_proba", features, emission), places)
    return counted(_bagged(bag, "predict", features, emission), places, emission)


def _bagged(bag: Any, method: Method, features: Features, emission: Emission) -> list[Features]:
    everything = list(range(features.width))
    return [
        emission.emit(member, method, features if list(taken) == everything else features.take(taken), step=name)
        for (name, member), taken in zip(named(bag.estimators_), bag.estimators_features_, strict=True)
    ]


@emits("decision_function", AdaBoostClassifier)
def boosted_scores(boost: Any, features: Features, emission: Emission) -> Features:
    """Votes by weight; a vote counts against the other classes."""
    classes = np.asarray(boost.classes_)
    weights = np.asarray(boost.estimator_weights_)[: len(boost.estimators_)]
    against = -1.0 / (len(classes) - 1)
    table = np.where(np.eye(len(classes), dtype=np.bool_), 1.0, against)
    total = np.asarray(boost.estimator_weights_).sum()
    tables = [
        table[np.searchsorted(classes, member.classes_)] * weight / total
        for member, weight in zip(boost.estimators_, weights, strict=True)
    ]
    scores = counted(member_outputs(named(boost.estimators_), "predict", features, emission), tables, emission)
    return scores.times(np.array([[-1.0], [1.0]])) if len(classes) == 2 else scores


@emits("predict_proba", AdaBoostClassifier)
def boosted_probabilities(boost: Any, features: Features, emission: Emission) -> Features:
    """Softmax of the scores divided by the number of classes less one."""
    scores = emission.emit(boost, "decision_function", features)
    if len(boost.classes_) == 2:
        return softmax(Features.of(emission.tensor(two_sided(scores).then("Mul", 0.5))), emission)
    return softmax(Features.of(emission.tensor(scores.then("Div", len(boost.classes_) - 1))), emission)


@emits("predict", AdaBoostClassifier)
def boosted_decided(boost: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score."""
    return emission.likeliest(two_sided(emission.emit(boost, "decision_function", features)))


@emits("predict", AdaBoostRegressor)
def boosted_median(boost: Any, features: Features, emission: Emission) -> Features:
    """The weighted median of the members' predictions."""
    predictions = emission.beside(member_outputs(named(boost.estimators_), "predict", features, emission))
    return weighted_median(boost, predictions, emission)


def weighted_median(boost: Any, predictions: Features, emission: Emission) -> Features:
    """The smallest prediction at which the weights of the members up to it reach half of the total."""
    graph, count = emission.graph, len(boost.estimators_)
    x, axis = emission.exact(predictions), graph.constant(1, "int64")
    ordered, places = graph.nodes("TopK", [x, graph.constant([count], "int64")], 2, axis=1, largest=0)
    weights = np.asarray(boost.estimator_weights_)[:count]
    of_each = graph.node("Gather", [graph.constant(weights, "float64"), places], "float64", count, axis=0)
    sums = graph.node("CumSum", [of_each, axis], "float64", count)
    total = graph.node("Gather", [sums, graph.constant([count - 1], "int64")], "float64", 1, axis=1)
    half = graph.node("Mul", [total, graph.constant(0.5, "float64")], "float64", 1)
    reached = graph.node("GreaterOrEqual", [sums, half], "bool", count)
    first = graph.node("ArgMax", [emission.cast(reached, "float32")], "int64", 1, axis=1, keepdims=1)
    return Features.of(graph.node("GatherElements", [ordered, first], x.dtype, 1, axis=1))


def _confidences(members: Sequence[Any], features: Features, emission: Emission) -> tuple[list[Features], bool]:
    """One score of each binary classifier, and whether these are probabilities."""
    outputs, are_probabilities = [], False
    for name, member in named(members):
        if hasattr(member, "decision_function"):
            outputs.append(emission.emit(member, "decision_function", features, step=name))
        elif is_classifier(member):
            outputs.append(emission.emit(member, "predict_proba", features, step=name).take([1]))
            are_probabilities = True
        else:
            outputs.append(emission.emit(member, "predict", features, step=name))
    return outputs, are_probabilities


def _check_supported(model: Any, emission: Emission) -> None:
    if getattr(model, "multilabel_", False):
        raise Refused(f"the step {emission.graph.path} answers several questions at once: train one model for each")
    if any(type(member).__name__ == "_ConstantPredictor" for member in model.estimators_):
        raise Refused(f"the step {emission.graph.path} met classes without rows in training: give it some")


@emits("decision_function", OneVsRestClassifier)
def each_against_rest(model: Any, features: Features, emission: Emission) -> Features:
    """One score for each class."""
    _check_supported(model, emission)
    return emission.beside(_confidences(model.estimators_, features, emission)[0])


@emits("predict_proba", OneVsRestClassifier)
def rest_probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Each class's own probability, normalized to sum to one."""
    _check_supported(model, emission)
    each = member_outputs(named(model.estimators_), "predict_proba", features, emission)
    if len(each) == 1:
        return each[0]
    return normalized(emission.beside([one.take([1]) for one in each]), emission, otherwise=0.0)


def normalized(features: Features, emission: Emission, *, otherwise: float) -> Features:
    """Rows divided by their sum; `otherwise` where the sum is zero."""
    graph, x = emission.graph, emission.exact(features)
    total = graph.node("ReduceSum", [x, graph.constant([1], "int64")], x.dtype, 1, keepdims=1)
    is_zero = graph.node("Equal", [total, graph.constant(0.0, x.dtype)], "bool", 1)
    divided = graph.node("Div", [x, total], x.dtype, x.width)
    return Features.of(graph.node("Where", [is_zero, graph.constant(otherwise, x.dtype), divided], x.dtype, x.width))


@emits("predict", OneVsRestClassifier)
def rest_decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score."""
    _check_supported(model, emission)
    scores, are_probabilities = _confidences(model.estimators_, features, emission)
    if len(scores) == 1:
        return emission.likeliest(scores[0].then("Sub", 0.5) if are_probabilities else scores[0])
    return emission.likeliest(emission.beside(scores))


@emits("decision_function", OneVsOneClassifier)
def each_against_each(model: Any, features: Features, emission: Emission) -> Features:
    """The votes of all pairs, with their confidence as a tie-break."""
    if model.pairwise_indices_ is not None:
        raise Refused(f"the step {emission.graph.path} has a precomputed kernel, which has no graph")
    scores, are_probabilities = _confidences(model.estimators_, features, emission)
    if len(scores) == 1:
        return scores[0]
    classes, graph = len(model.classes_), emission.graph
    x = emission.tensor(emission.beside(scores))
    above = graph.node("Greater", [x, graph.constant(0.5 if are_probabilities else 0.0, x.dtype)], "bool", x.width)
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    first, second = (np.eye(classes)[[pair[side] for pair in pairs]] for side in (0, 1))
    won = Features.of(emission.cast(above)).times(second - first, first.sum(axis=0))
    minus = emission.tensor(Features.of(x).then("Mul", -1.0))
    return with_confidence(won, minus, classes, emission)


@emits("predict", OneVsOneClassifier)
def each_decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score."""
    scores = emission.emit(model, "decision_function", features)
    if scores.width == 1 and not hasattr(model.estimators_[0], "decision_function"):
        scores = scores.then("Sub", 0.5)
    return emission.likeliest(scores)


@emits("predict", TransformedTargetRegressor)
def transformed_back(model: Any, features: Features, emission: Emission) -> Features:
    """The inner model's prediction, with the target's transformation inverted."""
    output = emission.emit(model.regressor_, "predict", features, step="regressor")
    transformer = model.transformer_
    match transformer:
        case FunctionTransformer():
            inverse = transformer.inverse_func
            return output if inverse is None else apply(inverse, emission.settled(output), emission)
        case StandardScaler():
            output = output.then("Mul", transformer.scale_) if transformer.with_std else output
            return output.then("Add", transformer.mean_) if transformer.with_mean else output
        case MinMaxScaler() if not transformer.clip:
            return output.then("Sub", transformer.min_).then("Div", transformer.scale_)
    raise Refused(
        f"the step {emission.graph.path} undoes {type(transformer).__name__} on the target, which has no graph: use a "
        f"function of numpy, StandardScaler or MinMaxScaler, or train on the transformed target and undo it yourself"
    )
