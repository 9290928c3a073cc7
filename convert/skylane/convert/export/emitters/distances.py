"""Nearest neighbours and clusters: distances as one matrix product, because |x - s|² = |x|² - 2 x·s + |s|².

The first term is the same for all s, so it is left out where only the order of distances matters. skl2onnx loops over
rows instead: 17 times slower at 1024 rows, hundreds of times at one (measured).
"""

from typing import Any

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.bayes import softmax
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Declined, emits
from skylane.convert.inspection.schema import Array

EUCLIDEAN = ("euclidean", "l2", "sqeuclidean")


@emits("predict", KMeans, MiniBatchKMeans)
def cluster(model: Any, features: Features, emission: Emission) -> Features:
    """The nearest centre."""
    return emission.likeliest(nearness(features, model.cluster_centers_))


@emits("transform", KMeans, MiniBatchKMeans)
def to_centres(model: Any, features: Features, emission: Emission) -> Features:
    """The distance to each centre, computed in float64."""
    graph, centres = emission.graph, np.asarray(model.cluster_centers_, dtype=np.float64)
    middle = centres.mean(axis=0)
    z = emission.tensor(features.then("Sub", middle), "float64")
    own = graph.node("ReduceSumSquare", [z, graph.constant([1], "int64")], "float64", 1, keepdims=1)
    near, offset = graph.constant(-2.0 * (centres - middle).T), graph.constant(((centres - middle) ** 2).sum(axis=1))
    squared = graph.node(
        "Add", [graph.node("Gemm", [z, near, offset], "float64", len(centres)), own], "float64", len(centres)
    )
    positive = graph.node("Max", [squared, graph.constant(0.0, "float64")], "float64", len(centres))
    return Features.of(graph.node("Sqrt", [positive], "float64", len(centres)))


@emits("decision_function", NearestCentroid)
def centroid_scores(model: Any, features: Features, emission: Emission) -> Features:
    """Nearness to each class's centre, scaled by the spread within classes; for two classes the difference."""
    each = _discriminants(model, features, emission)
    return each.times(np.array([[-1.0], [1.0]])) if each.width == 2 else each


@emits("predict_proba", NearestCentroid)
def centroid_probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Softmax of nearness."""
    return softmax(Features.of(emission.tensor(_discriminants(model, features, emission), "float64")), emission)


@emits("predict", NearestCentroid)
def centroid(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the nearest centre; if the priors are not equal, the likeliest class."""
    _euclidean(model, emission)
    if np.allclose(model.class_prior_, 1.0 / len(model.classes_)):
        return emission.likeliest(nearness(features, model.centroids_))
    return emission.likeliest(_discriminants(model, features, emission))


def _discriminants(model: Any, features: Features, emission: Emission) -> Features:
    _euclidean(model, emission)
    spread = np.where(model.within_class_std_dev_ != 0, model.within_class_std_dev_, 1.0)
    near = nearness(features.then("Div", spread), model.centroids_ / spread)
    return near.then("Add", 2.0 * np.log(model.class_prior_))


def _euclidean(model: Any, emission: Emission) -> None:
    if model.metric != "euclidean":
        raise Refused(
            f"the step {emission.graph.path} has metric={model.metric!r}: only the Euclidean distance has a graph"
        )


def nearness(features: Features, points: Any) -> Features:
    """One column for each point, larger for nearer points. Deferred, so that preceding scalers are folded in."""
    points = np.asarray(points, dtype=np.float64)
    middle = points.mean(axis=0)
    points = points - middle
    return features.then("Sub", middle).times(2.0 * points.T, -(points**2).sum(axis=1))


@emits("predict", KNeighborsRegressor)
def mean_of_neighbours(model: Any, features: Features, emission: Emission) -> Features:
    """The neighbours' targets, averaged."""
    targets = np.asarray(model._y, dtype=np.float64)
    return _averaged(model, features, targets.reshape(len(targets), -1), emission)


@emits("predict_proba", KNeighborsClassifier)
def shares(model: Any, features: Features, emission: Emission) -> Features:
    """The neighbours' classes, averaged."""
    return _averaged(model, features, np.eye(len(model.classes_))[np.ravel(model._y)], emission)


def _averaged(model: Any, features: Features, targets: Array, emission: Emission) -> Features:
    metric, power = model.effective_metric_, getattr(model, "effective_metric_params_", {}).get("p", model.p)
    if not (metric in EUCLIDEAN or (metric == "minkowski" and power == 2)):
        raise Declined(f"metric={metric!r}")
    if model.weights not in (None, "uniform", "distance"):
        raise Declined("weights by a function")
    graph, width = emission.graph, targets.shape[1]
    near = emission.tensor(nearness(features, model._fit_X))
    _, places = graph.nodes("TopK", [near, graph.constant([model.n_neighbors], "int64")], 2, axis=1)
    rows = graph.constant(targets, emission.precision)
    neighbour_targets = graph.node("Gather", [rows, places], emission.precision, None, axis=0)
    if model.weights == "distance":
        return Features.of(_distance_weighted(model, features, places, neighbour_targets, width, emission))
    return Features.of(
        graph.node(
            "ReduceMean", [neighbour_targets, graph.constant([1], "int64")], emission.precision, width, keepdims=0
        )
    )


def _distance_weighted(
    model: Any, features: Features, places: str, neighbour_targets: Tensor, width: int, emission: Emission
) -> Tensor:
    """The mean weighted by 1/distance; if some neighbours have a distance of zero, only they count."""
    graph = emission.graph

    def node(op: str, inputs: list[Tensor | str], **attributes: Any) -> Tensor:
        return graph.node(op, inputs, "float64", None, **attributes)

    last, second = graph.constant([2], "int64"), graph.constant([1], "int64")
    points = node("Gather", [graph.constant(model._fit_X, "float64"), places], axis=0)
    x = node("Unsqueeze", [emission.tensor(features, "float64"), second])
    distance = node("ReduceL2", [node("Sub", [points, x]), last], keepdims=1)
    is_zero = graph.node("Equal", [distance, graph.constant(0.0, "float64")], "bool", None)
    exact_match = node("Cast", [is_zero], to=11)
    any_match = graph.node("Cast", [node("ReduceMax", [exact_match, second], keepdims=1)], "bool", None, to=9)
    weights = node("Where", [any_match, exact_match, node("Reciprocal", [distance])])
    values = emission.cast(neighbour_targets, "float64")
    total = node("ReduceSum", [node("Mul", [values, weights]), second], keepdims=0)
    return graph.node("Div", [total, node("ReduceSum", [weights, second], keepdims=0)], "float64", width)
