"""Outputs as packed lists of their type, which other protocols use instead of raw bytes.

The bytes around a list depend only on its shape and length, and are cached for each. Pure.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

import numpy as np

from skylane.manifest import OutputSpec
from skylane.server.codecs import protobuf_wire
from skylane.server.core.types import Array

KEPT_MAX: Final = 256
"""Frames cached for each output, one for each shape and length; beyond that the cache is cleared."""

Levels = Sequence[tuple[int, bytes]]
"""Number of each field on the path to a list, from the outside in, and the bytes of its message before the next."""


class ListedOutput:
    """One output in a reply: a frame, then its elements."""

    def __init__(self, spec: OutputSpec, levels: Callable[[tuple[int, ...]], Levels], field: int) -> None:
        """`levels`: those of a tensor with this shape; `field`: the number of the list in the innermost message."""
        self._spec, self._levels, self._field = spec, levels, field
        self._frames: dict[Hashable, bytes] = {}

    def parts(self, output: Array, calls: int, rows_each: int) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """The parts of each call's reply: the frame, and the elements of its own rows."""
        shape = (rows_each, *output.shape[1:])
        if self._spec.dtype == "string":
            contents = _split_texts(self._field, output, calls)
        else:
            contents = _split_numbers(output, calls)
        return [self._frame(shape, len(content)) for content in contents], contents

    def _frame(self, shape: tuple[int, ...], size: int) -> bytes:
        frame = self._frames.get((shape, size))
        if frame is None:
            levels = self._levels(shape)
            frame = protobuf_wire.nested(
                levels if self._spec.dtype == "string" else [*levels, (self._field, b"")], size
            )
            if len(self._frames) >= KEPT_MAX:
                self._frames.clear()
            self._frames[shape, size] = frame
        return frame


def _split_numbers(output: Array, calls: int) -> list[bytes]:
    """Each call's elements as the content of a packed field; float16 as integers with its bits."""
    if output.dtype == np.float16:
        output = output.view(np.uint16)
    if output.dtype.kind != "f" and output.size and (output.min() < 0 or output.max() > 0x7F):
        return [protobuf_wire.packed(part.tolist()) for part in np.split(output.ravel(), calls)]
    if output.dtype.kind != "f":
        output = output.astype(np.uint8)  # each takes one byte
    raw = output.tobytes()
    size = len(raw) // calls
    return [raw[start : start + size] for start in range(0, size * calls, size)] if size else [b""] * calls


def _split_texts(field: int, output: Array, calls: int) -> list[bytes]:
    """Each call's elements as separate fields, because strings are not packed."""
    fields = [protobuf_wire.field(field, text.encode()) for text in output.ravel().tolist()]
    size = len(fields) // calls
    return [b"".join(fields[call * size : (call + 1) * size]) for call in range(calls)]
