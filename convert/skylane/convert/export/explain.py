"""A graph's nodes, each with the pipeline step that it comes from. Reads ONNX; decides nothing."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import onnx
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

NODES_MAX: Final = 200
"""Of longer graphs, the first nodes are listed and the others counted."""

UNNAMED: Final = "–"

PLUMBING: Final = frozenset({"Gather", "Concat", "Reshape", "Identity", "Cast"})
"""Operators that only pass values between steps, or from columns to steps."""


MADE_FOR: Final = {
    "Imputer": ("SimpleImputer",),
    "Scaler": ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"),
    "OneHotEncoder": ("OneHotEncoder",),
    "Normalizer": ("Normalizer",),
    "Binarizer": ("Binarizer",),
    "TfIdfVectorizer": ("TfidfVectorizer", "CountVectorizer"),
    "Tokenizer": ("TfidfVectorizer", "CountVectorizer"),
}
"""Operator → classes that skl2onnx writes it for. It does not name the step, but only one step may be of that class."""

FINAL: Final = frozenset(
    {
        "LinearClassifier",
        "LinearRegressor",
        "SVMClassifier",
        "SVMRegressor",
        "TreeEnsemble",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
    }
)
"""Operators that stand for a whole predictor."""


def explained(graph: bytes, estimator: Any = None, width: int = 120) -> str:
    """The graph as a table in plain text: inputs, nodes in the order in which they run, and outputs.

    Nodes that do not name their step are attributed by class, if the estimator is given.
    """
    model = onnx.load_from_string(graph)
    console = Console(width=width, color_system=None, file=io.StringIO())
    with console.capture() as captured:
        show_graph(model, console, estimator)
    return captured.get()


def show_graph(model: onnx.ModelProto, console: Console, estimator: Any = None) -> None:
    """Print the graph's inputs, its nodes and its outputs."""
    graph, leaves = model.graph, list(_leaves(estimator))
    weights = {weight.name: weight for weight in graph.initializer}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("node")
    table.add_column("from step", overflow="fold")
    table.add_column("takes", overflow="fold")
    table.add_column("with")
    table.add_column("gives", overflow="fold")
    for value in graph.input:
        table.add_row("input", "", "", _type(value), value.name)
    for node in graph.node[:NODES_MAX]:
        taken = ", ".join(_short(name) for name in node.input if name and name not in weights)
        constants = [weights[name] for name in node.input if name in weights]
        settings = ", ".join((*map(_weight, constants), *_attributes(node)))
        table.add_row(_operator(node), _source(node, leaves), taken, settings, ", ".join(map(_short, node.output)))
    for value in graph.output:
        table.add_row("output", "", value.name, _type(value), "")
    console.print(table, highlight=False, markup=False)
    if len(graph.node) > NODES_MAX:
        rest = Counter(_operator(node) for node in graph.node[NODES_MAX:])
        console.print(f"  and {len(graph.node) - NODES_MAX} more: {_counted(rest)}", highlight=False)
    versions = ", ".join(f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import)
    counted = f"{len(graph.node)} nodes, {len(graph.initializer)} constants"
    console.print(f"  {counted}, {model.ByteSize() / 1e3:.1f} kB; operators of {versions}", highlight=False)
    if any(_source(node, leaves) == UNNAMED for node in graph.node if node.op_type not in PLUMBING):
        console.print("  –: nobody says; skl2onnx, which made these nodes, does not name steps", highlight=False)


def step_of(node: onnx.NodeProto) -> str:
    """The step that a node was made for, such as "columntransformer/numbers/standardscaler"; "–" if unknown."""
    path, slash, _ = node.name.rpartition("/")
    return path if slash else UNNAMED


def _source(node: onnx.NodeProto, leaves: Sequence[tuple[str, Any]]) -> str:
    """The step that the node names, or the pipeline's only step for which such a node is written."""
    named = step_of(node)
    if named != UNNAMED:
        return named
    if node.op_type in FINAL:
        fitting = [path for path, step in leaves[-1:] if hasattr(step, "predict")]
    else:
        fitting = [path for path, step in leaves if type(step).__name__ in MADE_FOR.get(node.op_type, ())]
    return fitting[0] if len(fitting) == 1 else UNNAMED


def _leaves(estimator: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The steps that contain no others, each with its path of names."""
    if isinstance(estimator, Pipeline):
        inner = estimator.steps
    elif isinstance(estimator, ColumnTransformer):
        inner = [(name, part) for name, part, _ in estimator.transformers_]
    elif isinstance(estimator, FeatureUnion):
        inner = estimator.transformer_list
    else:
        if estimator is not None and not isinstance(estimator, str):
            yield path or type(estimator).__name__, estimator
        return
    for name, step in inner:
        yield from _leaves(step, f"{path}/{name}" if path else name)


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx.ml") else f"{node.domain}:{node.op_type}"


def _short(name: str) -> str:
    """A value's name without the step, which is in another column."""
    return name.rpartition("/")[2] or name


def _type(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = ", ".join(_size(dim) for dim in tensor.shape.dim)
    return f"{_name(tensor.elem_type)} ({sizes})"


def _size(dim: onnx.TensorShapeProto.Dimension) -> str:
    return str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "rows"


def _weight(weight: onnx.TensorProto) -> str:
    shape = "×".join(map(str, weight.dims)) or "1"
    return f"{_name(weight.data_type)} {shape}"


def _name(element: int) -> str:
    return {"float": "float32", "double": "float64"}.get(
        named := onnx.TensorProto.DataType.Name(element).lower(), named
    )


def _attributes(node: onnx.NodeProto) -> Iterator[str]:
    """Short attributes with their values, long ones with the number of values, forests with their size."""
    forest = _forest({attribute.name: attribute for attribute in node.attribute})
    if forest:
        yield forest
    for attribute in node.attribute:
        if forest and attribute.name.startswith(("nodes_", "class_", "target_", "leaf_", "tree_")):
            continue
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, int | float | str):
            yield f"{attribute.name}={value:.6g}" if isinstance(value, float) else f"{attribute.name}={value}"
        elif isinstance(value, list | tuple):
            yield f"{attribute.name}: {len(value)}"
        elif isinstance(value, onnx.TensorProto):
            yield f"{attribute.name}: {_weight(value)}"
        else:
            yield attribute.name


def _forest(attributes: Mapping[str, onnx.AttributeProto]) -> str:
    """Such as "20 trees, 1508 nodes"; empty if the node is no forest."""
    if "nodes_treeids" in attributes:
        of_node = attributes["nodes_treeids"].ints
        return f"{len(set(of_node))} trees, {len(of_node)} nodes"
    if "tree_roots" in attributes:
        leaves, splits = (len(attributes[name].ints) for name in ("leaf_targetids", "nodes_featureids"))
        return f"{len(attributes['tree_roots'].ints)} trees, {splits + leaves} nodes"
    return ""


def _counted(operators: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in operators.most_common())
