"""Large forests split into several nodes, for batches: the CPU cache holds a node's trees while it runs all rows.

ONNX Runtime runs each row through all trees of a node. That is slow only if the trees do not fit into the cache, and
splitting them slows down a single row; timing decides.
"""

from typing import Final

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.inspection.schema import NumberType
from skylane.convert.inspection.structure import rounds_first

NODES_MIN: Final = 200_000
"""Nodes of all trees together. From 350,000 on, 1024 rows are 1.1 times faster; at 70,000 nothing is gained."""

NODES_MAX: Final = 30_000
"""Tree nodes in one node of the graph. With 3,000, batches are 1.15 times faster, but a row alone 3 times slower."""


@candidate("emitted, split")
def split(source: Source) -> Built:
    """As `emitted mixed`, or as `emitted float32` if trees come first, with its forests split."""
    if not (count := source.tree_nodes):
        raise NotApplicable("the pipeline has no forest of deep trees")
    if count < NODES_MIN:
        raise NotApplicable(f"its trees have {count} nodes, which stay in the cache: from {NODES_MIN} on it may pay")
    numbers: NumberType = "float32" if rounds_first(source.estimator) else "float64"
    content = source.emitted(numbers, "float32", NODES_MAX)
    note = f"emitted anew, its {count} nodes of trees in parts of at most {NODES_MAX}"
    return Built(content, numbers, note)
