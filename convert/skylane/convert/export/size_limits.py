"""Forests that are too large, told before memory is gone: how much a graph of so many nodes takes.

Bounds are low: a forest that is refused would have failed, one that is not may still fail, minutes later.
"""

from pathlib import Path
from typing import Any, Final

from skylane.convert.errors import Unconvertible
from skylane.convert.inspection.structure import shares_leaves, tree_nodes

GRAPH_BYTES_MAX: Final = 2**31 - 1
"""What protobuf, and so a file of ONNX without others beside it, can hold."""

NODE_BYTES: Final = {False: 12, True: 28}
"""Of a node in a graph, at least, where leaves hold one number, and where they hold several (measured: 14 and 34)."""

NODE_MEMORY_BYTES: Final = 250
"""Of a node while it is converted, at least (measured: 330, most of it ONNX Runtime's as it loads the graph)."""

MEMORY: Final = Path("/proc/meminfo")

ADVICE: Final = (
    "train fewer trees (n_estimators=), or let leaves hold more rows (min_samples_leaf=5 makes a fifth of it)"
)


def check_size(estimator: Any, available_bytes: int | None) -> None:
    """Raises Unconvertible if the trees do not fit into a graph, or into the memory that is free; None: not known."""
    nodes = tree_nodes(estimator)
    graph = nodes * NODE_BYTES[nodes > 0 and shares_leaves(estimator)]
    if graph > GRAPH_BYTES_MAX:
        raise Unconvertible(
            f"its trees have {nodes / 1e6:.0f} million nodes, which make a graph of {graph / 1e9:.1f} GB or more, "
            f"and a file of ONNX holds {GRAPH_BYTES_MAX / 1e9:.1f} GB: {ADVICE}"
        )
    if available_bytes is not None and nodes * NODE_MEMORY_BYTES > available_bytes:
        raise Unconvertible(
            f"its trees have {nodes / 1e6:.0f} million nodes, which take {nodes * NODE_MEMORY_BYTES / 1e9:.1f} GB of "
            f"memory or more to convert, and {available_bytes / 1e9:.1f} GB are free: convert it on a larger machine, "
            f"or {ADVICE}"
        )


def available_bytes(path: Path = MEMORY) -> int | None:
    """Memory that may still be taken, as Linux says; None on other systems."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = next((line.split() for line in lines if line.startswith("MemAvailable:")), [])
    return int(free[1]) * 1024 if len(free) == 3 and free[1].isdigit() else None
