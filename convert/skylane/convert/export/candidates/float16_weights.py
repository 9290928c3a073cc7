"""Weights stored as float16, and cast back when the graph is loaded: half the file size, the same speed."""

from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate

SMALL_BYTES: Final = 4096
"""Smaller weights are left unchanged: the node that casts them back would take as many bytes as are saved."""


@candidate("float16 weights")
def float16_weights(source: Source) -> Built:
    """All large weights as float16. ONNX Runtime folds the casts when it loads the graph; it computes in float32."""
    if source.large:
        raise NotApplicable(f"{source.large}, which half precision cannot hold")
    model = source.single()
    halved = total = 0
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        total += 1
        values = numpy_helper.to_array(weight)
        if values.nbytes < SMALL_BYTES:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(np.isfinite(halves), np.isfinite(values)):
            continue  # too large for half precision
        name, stored = weight.name, f"{weight.name}:float16"
        weight.CopyFrom(numpy_helper.from_array(halves, stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT))
        halved += 1
    if not halved:
        raise NotApplicable(f"no weight of the graph has {SMALL_BYTES // 1024} KiB that half precision can hold")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    note = f"{halved} of {total} weights stored in half precision, computed in single"
    return Built(model.SerializeToString(deterministic=True), "float32", note)
