"""Refuses forests that are too large before memory is exhausted: estimates the size of a graph from its tree nodes.

The estimates are lower bounds: a forest that is refused would have failed, but another may still fail, minutes later.
"""

from pathlib import Path
from typing import Any, Final

from skylane.convert.errors import Unconvertible
from skylane.convert.inspection.structure import shares_leaves, tree_nodes

GRAPH_BYTES_MAX: Final = 2**31 - 1
"""The size limit of a protobuf message, and so of an ONNX file without external data."""

NODE_BYTES: Final = {False: 12, True: 28}
"""Smallest size of a tree node in a graph, if leaves hold one number and if they hold several (measured: 14 and 34)."""

NODE_MEMORY_BYTES: Final = 250
"""Smallest memory for a tree node during conversion (measured: 330, mostly used by ONNX Runtime to load the graph)."""

MEMORY: Final = Path("/proc/meminfo")

ADVICE: Final = (
    "train fewer trees (n_estimators=), or let leaves hold more rows (min_samples_leaf=5 makes a fifth of it)"
)


def check_size(estimator: Any, available_bytes: int | None) -> None:
    """Raises Unconvertible if the trees do not fit into a graph, or into the free memory, which is None if unknown."""
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
    """Available memory according to Linux; None on other systems."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = next((line.split() for line in lines if line.startswith("MemAvailable:")), [])
    return int(free[1]) * 1024 if len(free) == 3 and free[1].isdigit() else None
