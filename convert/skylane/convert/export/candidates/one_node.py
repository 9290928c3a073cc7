"""Trees whose label and probabilities come from one node, as in skl2onnx's graphs: the fastest for a single row.

For larger batches two nodes are faster if each leaf then holds one number instead of two; timing decides.
"""

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.export.emitters.emit import answers_in_one_node
from skylane.convert.inspection.schema import NumberType
from skylane.convert.inspection.structure import rounds_first


@candidate("emitted, one node")
def one_node(source: Source) -> Built:
    """As `emitted float32`, with label and probabilities from one node."""
    return _built(source, "float32", "")


@candidate("emitted mixed, one node")
def one_node_mixed(source: Source) -> Built:
    """As `emitted mixed`, with label and probabilities from one node."""
    return _built(source, "float64", ", compared in doubles")


def _built(source: Source, numbers: NumberType, how: str) -> Built:
    if source.task != "classifier" or not answers_in_one_node(source.estimator):
        raise NotApplicable("it does not end in boosted trees or a forest of classes")
    if numbers == "float64" and rounds_first(source.estimator):
        raise NotApplicable("its trees round their input to single precision: doubles would gain nothing")
    if source.large:
        raise NotApplicable(f"{source.large}, beside which a node more or less takes no time")
    content = source.emitted(numbers, "float32", in_one_node=True)
    return Built(content, numbers, f"label and probabilities from one node of trees{how}")
