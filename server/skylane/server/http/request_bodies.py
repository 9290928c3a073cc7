"""Bodies of requests, received within bounds: of one, of all that are held at once, and of what they unpack to."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from skylane.server.core.errors import BadRequest, CallCancelled, MessageTooLarge, Overloaded

HELD_MESSAGES_MAX: Final = 4
"""Bodies of all requests in flight may take this many times the largest message; more are refused until some end."""
RETRY_MS: Final = 100

_WINDOW: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Bodies:
    """Receives bodies, and knows how many bytes of them are held."""

    def __init__(self, message_bytes_max: int, too_large: Callable[[int], MessageTooLarge]) -> None:
        """`too_large`: what a caller hears whose message has so many bytes."""
        self._bytes_max, self._too_large = message_bytes_max, too_large
        self._held_bytes_max = HELD_MESSAGES_MAX * message_bytes_max
        self.held_bytes = 0

    @contextmanager
    def room(self) -> Iterator["Room"]:
        """Room for one request's body, until the block ends."""
        room = Room(self)
        try:
            yield room
        finally:
            self.held_bytes -= room.taken

    async def read(self, request: Request, room: "Room") -> bytes:
        """The whole body, unpacked. Raises MessageTooLarge, Overloaded, BadRequest, CallCancelled or HTTPException."""
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity" and encoding not in _WINDOW:
            raise HTTPException(415, f"content-encoding: expected gzip, deflate or none, received {encoding[:50]!r}")
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._bytes_max:
            raise self._too_large(int(announced))
        body = bytearray()
        try:
            async for chunk in request.stream():
                self._take(room, len(chunk))
                body += chunk
                if len(body) > self._bytes_max:
                    raise self._too_large(len(body))
        except ClientDisconnect as error:
            raise CallCancelled("the caller has gone") from error
        return bytes(body) if encoding == "identity" else self._unpacked(bytes(body), encoding, room)

    def _take(self, room: "Room", size: int) -> None:
        if self.held_bytes + size > self._held_bytes_max:
            raise Overloaded(
                f"the server holds {self.held_bytes} bytes of requests, at most {self._held_bytes_max} may be",
                RETRY_MS,
            )
        room.taken += size
        self.held_bytes += size

    def _unpacked(self, body: bytes, encoding: str, room: "Room") -> bytes:
        """Never more than one byte beyond the limit is unpacked, whatever the body would become."""
        unpacker = zlib.decompressobj(_WINDOW[encoding])
        try:
            content = unpacker.decompress(body, self._bytes_max + 1)
        except zlib.error as error:
            raise BadRequest(f"the body is not {encoding}, though content-encoding says so: {error}") from error
        if len(content) > self._bytes_max:
            raise self._too_large(len(content))
        if not unpacker.eof:
            raise BadRequest(f"the body ends before its {encoding} does")
        self._take(room, len(content))
        return content


class Room:
    """What one request holds."""

    def __init__(self, bodies: Bodies) -> None:
        self.bodies = bodies
        self.taken = 0
