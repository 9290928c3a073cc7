"""Large forests in several nodes, for batches: each node's trees stay in the cache while all rows pass through them.

ONNX Runtime takes row by row through all trees of a node. What that costs only shows where they do not fit into the
cache, and splitting them costs a single row: so it is timed, like everything.
"""

from typing import Final

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.inspection.schema import NumberType
from skylane.convert.inspection.structure import rounds_first

NODES_MIN: Final = 200_000
"""Of all trees together: 1.1 times faster at 1024 rows from 350,000 on, nothing at 70,000 (measured)."""

NODES_MAX: Final = 30_000
"""Of the trees in one node of the graph; 3,000 gain 1.15 times, but make a single row three times slower."""


@candidate("emitted, split")
def split(source: Source) -> Built:
    """As `emitted mixed`, or `emitted float32` if trees come first, its forests split."""
    if not (count := source.tree_nodes):
        raise NotApplicable("the pipeline has no forest of deep trees")
    if count < NODES_MIN:
        raise NotApplicable(f"its trees have {count} nodes, which stay in the cache: from {NODES_MIN} on it may pay")
    numbers: NumberType = "float32" if rounds_first(source.estimator) else "float64"
    content = source.emitted(numbers, "float32", NODES_MAX)
    note = f"emitted anew, its {count} nodes of trees in parts of at most {NODES_MAX}"
    return Built(content, numbers, note)
