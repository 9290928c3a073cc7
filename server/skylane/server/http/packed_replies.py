"""How a reply travels from the engine to the handler that waits for it: one string of bytes. Pure.

The engine and its cache know replies as bytes alone. So the encoder, which runs where the model ran, writes the body
and what the handler needs to know of it, and the handler takes it apart: a flag, the length of the JSON, the JSON, and
binary tensors behind it.
"""

import struct
from dataclasses import dataclass
from typing import Final

from skylane.server.core.array_task import StackedTask

_HEAD: Final = struct.Struct("<?I")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answered request."""

    json: bytes
    binary: bytes
    cached: bool
    """Whether the model did not run for it."""


def pack(json: bytes, binary: bytes = b"") -> bytes:
    """One string for the engine."""
    return _HEAD.pack(False, len(json)) + json + binary


def unpack(packed: bytes) -> Reply:
    """What `pack` was given."""
    cached, size = _HEAD.unpack_from(packed)
    end = _HEAD.size + size
    return Reply(packed[_HEAD.size : end], packed[end:], cached)


class JsonTask(StackedTask):
    """A request over HTTP, bound to a model."""

    __slots__ = ()

    def mark_cached(self, reply: bytes) -> bytes:
        return b"\1" + reply[1:]
