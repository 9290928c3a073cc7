"""Whether a graph keeps values of tensors in other files, read from its bytes without ONNX. Pure.

ONNX Runtime would look for such files in the working directory of the process, and SHA256SUMS need not list them. So a
graph that refers to any is refused before ONNX Runtime sees it.
"""

import re
from typing import Final

_CHILDREN: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message of onnx.proto → number of a field that leads to tensors → message that the field holds."""

_EXTERNAL_DATA: Final = 13
_DATA_LOCATION: Final = 14
"""Fields of TensorProto: where its values are, and whether they are in another file."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS: Final = re.compile(rb"(?:\x3d[\s\S]{4}){1,4096}|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f]){1,4096}")
"""A run of the numbers of an attribute: a forest has a million, one field each."""


class BadGraph(Exception):
    """The bytes are no protobuf message."""


def has_external_data(graph: bytes) -> bool:
    """Whether any tensor of a serialized ModelProto, however deep, refers to another file. Raises BadGraph."""
    waiting = [("model", 0, len(graph))]
    while waiting:
        message, position, end = waiting.pop()
        children = _CHILDREN[message]
        while position < end:
            if message == "attribute" and (run := _SCALARS.match(graph, position, end)):
                position = run.end()
                continue
            tag, position = _varint(graph, position, end)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, position = _varint(graph, position, end)
                if message == "tensor" and number == _DATA_LOCATION and value:
                    return True
            elif kind == _BYTES:
                size, position = _varint(graph, position, end)
                if position + size > end:
                    raise BadGraph
                if message == "tensor" and number == _EXTERNAL_DATA:
                    return True
                if number in children:
                    waiting.append((children[number], position, position + size))
                position += size
            elif kind in (_FIXED64, _FIXED32):
                position += 8 if kind == _FIXED64 else 4
            else:  # groups, which onnx.proto does not have
                raise BadGraph
        if position > end:
            raise BadGraph
    return False


def _varint(graph: bytes, position: int, end: int) -> tuple[int, int]:
    """Value, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise BadGraph
        byte = graph[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise BadGraph
