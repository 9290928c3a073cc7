"""Bytes of a stream → messages of gRPC: five bytes in front tell the length and whether it is compressed.

Everything here is bounded before it is kept: a message that will be too large is refused at its first bytes, and a
compressed one is unpacked no further than the limit, so that a small bomb stays small.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from grpc import StatusCode

from server.errors import MessageTooLarge
from server.transport.status import Status, status_of

read_prefix = struct.Struct(">BI").unpack_from
"""(data, offset) → compressed or not, length of the message."""
PREFIX_BYTES: Final = 5
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
        self._buffer = bytearray()  # not a list of pieces: a stranger's may be of one byte, and an object has fifty
        self._needed = PREFIX_BYTES
        """Bytes at which we can go on."""

    @property
    def held(self) -> int:
        """Bytes of what is not whole: a prefix, or a message with its prefix."""
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """Bytes until the message that has begun is whole, as far as is known; 0 between messages."""
        return self._needed - self.held if self.held else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that these bytes complete. Raises MessageFault."""
        self._buffer += data
        while self.held >= self._needed:
            compressed, length = read_prefix(self._buffer, 0)
            if length > self._bytes_max:
                raise MessageFault(status_of(self._too_large(length)))
            if compressed > 1:
                text = f"a message begins with the byte {compressed}; expected 0, or 1 if it is compressed"
                raise MessageFault(Status(StatusCode.INTERNAL, text))
            end = PREFIX_BYTES + length
            if self.held < end:
                self._needed = end
                return
            with memoryview(self._buffer) as view:
                message = view[PREFIX_BYTES:end].tobytes()
            del self._buffer[:end]
            self._needed = PREFIX_BYTES
            yield self._unpacked(message) if compressed else message

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
        try:
            unpacked = unpacker.decompress(message, self._bytes_max + 1)
        except zlib.error as error:
            raise MessageFault(Status(StatusCode.INTERNAL, f"the message is not {self._encoding}: {error}")) from error
        if len(unpacked) > self._bytes_max:
            raise MessageFault(status_of(self._too_large(len(unpacked))))
        if not unpacker.eof:
            raise MessageFault(Status(StatusCode.INTERNAL, f"the message's {self._encoding} ends too early"))
        if unpacker.unused_data:
            text = f"the message goes on for {len(unpacker.unused_data)} bytes after its {self._encoding} has ended"
            raise MessageFault(Status(StatusCode.INTERNAL, text))
        return unpacked
