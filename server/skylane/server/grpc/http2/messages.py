"""Bytes of a stream → messages of gRPC: five bytes in front tell the length and whether it is compressed.

Everything here is bounded before it is kept: a message that will be too large is refused at its first bytes, and a
compressed one is unpacked no further than the limit, so that a small bomb stays small.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from grpc import StatusCode

from skylane.server.codecs.element_limits import UnpackedMessage
from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core.errors import MessageTooLarge

read_prefix = struct.Struct(">BI").unpack_from
"""(data, offset) → compressed or not, length of the message."""
PREFIX_BYTES: Final = 5
UNPACKED_TIMES_MAX: Final = 50
"""A message that unpacks to more than so many times its size is a bomb: gzip ends at 1032. To parse what was unpacked
costs up to 4 ns for each byte, where an honest request costs 50 ns for each byte that is sent; lists in it cost more,
and have a limit of their own: see skylane.server.codecs.element_limits."""
UNPACKED_BYTES_FREE: Final = 2**16
"""So many bytes may be unpacked from however few, as a small table of zeros is; they cost the peer patience."""
PIECE_BYTES: Final = 1024
"""A piece of so many bytes is kept as it came."""
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}


class MessageFault(Exception):
    """A message cannot be taken; the call ends with this status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def message_too_large(size: int) -> MessageTooLarge:
    """For methods that have no limit of their own."""
    return MessageTooLarge(f"the message has {size} bytes, more than this server takes (--max-message-mb)")


class Assembler:
    """Messages of one stream, from pieces of any size."""

    def __init__(self, encoding: str, bytes_max: int, too_large: Callable[[int], MessageTooLarge]) -> None:
        self._encoding, self._bytes_max, self._too_large = encoding, bytes_max, too_large
        self._prefix = b""
        self._pieces: list[bytes | bytearray] = []
        """Of the message after its prefix, joined when it is whole: growing one buffer took 27 µs for 80 KB, not 5."""
        self._compressed = False
        self.held = 0
        """Bytes of what is not whole: a prefix, or a message with its prefix."""
        self.excess = 0
        """Bytes that were unpacked beyond UNPACKED_TIMES_MAX; whoever charges the peer for them empties it."""
        self.missing = 0
        """Bytes until the message that has begun is whole, as far as is known; 0 between messages."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that these bytes complete. Raises MessageFault."""
        position, size = 0, len(data)
        while position < size:
            if len(self._prefix) < PREFIX_BYTES:
                position += self._begin(data, position)
                if len(self._prefix) < PREFIX_BYTES:
                    return
            end = min(position + self.missing, size)
            self._keep(data[position:end])
            if self.missing:
                return
            position, message = end, b"".join(self._pieces)
            self._pieces.clear()
            self._prefix, self.held = b"", 0
            yield self._unpacked(message) if self._compressed else message

    def _begin(self, data: bytes, position: int) -> int:
        """Take what belongs to the prefix: so many bytes. Raises MessageFault if such a message cannot be taken."""
        held = len(self._prefix)
        self._prefix += data[position : position + PREFIX_BYTES - held]
        self.held = len(self._prefix)
        self.missing = PREFIX_BYTES - self.held
        if not self.missing:
            compressed, self.missing = read_prefix(self._prefix, 0)
            if self.missing > self._bytes_max:
                raise MessageFault(status_of(self._too_large(self.missing)))
            if compressed > 1:
                text = f"a message begins with the byte {compressed}; expected 0, or 1 if it is compressed"
                raise MessageFault(Status(StatusCode.INTERNAL, text))
            self._compressed = bool(compressed)
        return self.held - held

    def _keep(self, part: bytes) -> None:
        """Small pieces in one buffer: a stranger's may be of one byte, and an object has fifty."""
        self.held += len(part)
        self.missing -= len(part)
        if len(part) >= PIECE_BYTES:
            self._pieces.append(part)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += part
        else:
            self._pieces.append(bytearray(part))

    def _unpacked(self, message: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            known = self._encoding == "identity"
            raise MessageFault(
                Status(StatusCode.INTERNAL, "a message says it is compressed, but no grpc-encoding says how")
                if known
                else Status(
                    StatusCode.UNIMPLEMENTED,
                    f"grpc-encoding: expected identity, gzip or deflate, received {self._encoding!r}",
                )
            )
        unpacker = zlib.decompressobj(bits)
        bytes_max = min(self._bytes_max, max(UNPACKED_BYTES_FREE, UNPACKED_TIMES_MAX * len(message)))
        try:
            unpacked = unpacker.decompress(message, bytes_max + 1)
        except zlib.error as error:
            raise MessageFault(Status(StatusCode.INTERNAL, f"the message is not {self._encoding}: {error}")) from error
        if len(unpacked) > self._bytes_max:
            raise MessageFault(status_of(self._too_large(len(unpacked))))
        self.excess += max(len(unpacked) - UNPACKED_TIMES_MAX * len(message), 0)
        if len(unpacked) > bytes_max:
            text = (
                f"the message unpacks to more than {UNPACKED_TIMES_MAX} times its {len(message)} bytes; "
                f"send it with less compression or none"
            )
            raise MessageFault(Status(StatusCode.RESOURCE_EXHAUSTED, text))
        if not unpacker.eof:
            raise MessageFault(Status(StatusCode.INTERNAL, f"the message's {self._encoding} ends too early"))
        if unpacker.unused_data:
            text = f"the message goes on for {len(unpacker.unused_data)} bytes after its {self._encoding} has ended"
            raise MessageFault(Status(StatusCode.INTERNAL, text))
        return UnpackedMessage(unpacked, len(message))
