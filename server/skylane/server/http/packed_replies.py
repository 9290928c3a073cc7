"""How a reply travels from the engine to the handler that waits for it: one string of bytes. Pure.

The engine and its cache know replies as bytes alone. So the encoder, which runs where the model ran, writes the body
and what the handler needs to know of it, and the handler takes it apart: a flag, the lengths of the JSON and of the
binary tensors, both of these, and the prediction id, which the engine appends if there is one.
"""

import struct
from dataclasses import dataclass
from typing import Final

from skylane.server.core.array_task import StackedTask

_HEAD: Final = struct.Struct("<?IQ")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answered request."""

    json: bytes
    binary: bytes
    cached: bool
    """Whether the model did not run for it."""
    prediction_id: str = ""
    """Names the answer in the journal; empty if it is not recorded."""


def pack(json: bytes, binary: bytes = b"") -> bytes:
    """One string for the engine."""
    return _HEAD.pack(False, len(json), len(binary)) + json + binary


def unpack(packed: bytes) -> Reply:
    """What `pack` was given, and the prediction id behind it."""
    cached, json_size, binary_size = _HEAD.unpack_from(packed)
    json_end = _HEAD.size + json_size
    end = json_end + binary_size
    return Reply(packed[_HEAD.size : json_end], packed[json_end:end], cached, packed[end:].decode())


class JsonTask(StackedTask):
    """A request over HTTP, bound to a model."""

    __slots__ = ()

    def id_head(self, size: int) -> bytes | None:  # noqa: ARG002
        """See BatchTask."""
        return b""

    def mark_cached(self, reply: bytes) -> bytes:
        return b"\1" + reply[1:]
