"""Receives request bodies within limits: of one, of all that are held at once, and of their decompressed size."""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from skylane.server.core.errors import BadRequest, CallCancelled, MessageTooLarge, Overloaded
from skylane.server.engine.served_version import ServedVersion
from skylane.server.http.body_limits import (
    JSON_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    UNPACKED_FREE_BYTES,
    UNPACKED_RATIO_MAX,
    BodyLimits,
    ValueCount,
    limits_of,
)

HELD_MESSAGES_MAX: Final = 4
"""Bodies of all requests in flight may take this many times the largest message; more are refused until some end."""
HELD_UNPACKED_MAX: Final = 4
"""Their decompressed content may take this many times the largest."""
RETRY_MS: Final = 100
SLICE_BYTES: Final = 64 * 2**10
"""Decompressed and counted in one step; then other tasks may run."""

_WINDOW: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Bodies:
    """Receives bodies, and counts the bytes that are held."""

    def __init__(self, message_bytes_max: int, too_large: Callable[[int], MessageTooLarge]) -> None:
        """`too_large`: number of bytes → the error for a message of that size."""
        self.bytes_max, self.too_large = message_bytes_max, too_large
        self.parsing = asyncio.Semaphore()
        """One large body is parsed at a time."""
        self._limits = WeakKeyDictionary[ServedVersion, BodyLimits]()
        self.held, self.unpacked = (
            Budget("bytes of requests", HELD_MESSAGES_MAX * message_bytes_max),
            Budget("bytes of unpacked requests", HELD_UNPACKED_MAX * min(UNPACKED_BYTES_MAX, message_bytes_max)),
        )

    def limits(self, served_version: ServedVersion) -> BodyLimits:
        """For requests to this version."""
        limits = self._limits.get(served_version)
        if limits is None:
            limits = self._limits[served_version] = limits_of(
                served_version.model.interface, served_version.policy.max_request_rows
            )
        return limits

    @contextmanager
    def room(self) -> Iterator["Room"]:
        """Room for one request's body, until the block ends."""
        room = Room(self.held, self.unpacked)
        try:
            yield room
        finally:
            room.leave()

    async def read(self, request: Request, room: "Room", limits: BodyLimits, json_size: int | None = None) -> bytes:
        """The whole body, unpacked. `json_size`: how much of it is JSON, if not all.

        Raises MessageTooLarge, Overloaded, BadRequest, CallCancelled or HTTPException.
        """
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity" and encoding not in _WINDOW:
            raise HTTPException(415, f"content-encoding: expected gzip, deflate or none, received {encoding[:50]!r}")
        announced = request.headers.get("content-length", "")
        body = Body(self, room, limits, encoding, json_size)
        if announced.isdigit():
            body.check_size(int(announced))
        try:
            async for chunk in request.stream():
                for _ in body.feed(chunk):
                    await asyncio.sleep(0)
        except ClientDisconnect as error:
            raise CallCancelled("the caller has disconnected") from error
        return body.whole()


class Budget:
    """Bytes that all requests together may hold."""

    def __init__(self, what: str, bytes_max: int) -> None:
        """`what`: for the error, as in `bytes of requests`."""
        self._what, self._bytes_max = what, bytes_max
        self.held = 0

    def take(self, size: int) -> None:
        """Raise Overloaded if there is no room for so many more."""
        if self.held + size > self._bytes_max:
            raise Overloaded(f"the server holds {self.held} {self._what}, at most {self._bytes_max} may be", RETRY_MS)
        self.held += size


class Room:
    """What one request holds of the budgets."""

    def __init__(self, received: Budget, unpacked: Budget) -> None:
        self._budgets = {False: received, True: unpacked}
        self._taken = {False: 0, True: 0}

    def take(self, size: int, *, unpacked: bool) -> None:
        """Raise Overloaded if there is no room for so many more bytes."""
        self._budgets[unpacked].take(size)
        self._taken[unpacked] += size

    def leave(self) -> None:
        """Give back what was taken."""
        for unpacked, budget in self._budgets.items():
            budget.held -= self._taken[unpacked]
            self._taken[unpacked] = 0


class Body:
    """One body that arrives in parts: decompressed, counted and checked against its limits. Knows no sockets."""

    def __init__(
        self, bodies: Bodies, room: Room, limits: BodyLimits, encoding: str = "identity", json_size: int | None = None
    ) -> None:
        """`json_size`: how much of it is JSON, if not all. Raises MessageTooLarge."""
        self._room, self._limits, self._encoding = room, limits, encoding
        self._json_size = json_size
        self._too_large = bodies.too_large
        self._message_bytes_max = bodies.bytes_max
        self._unpacker = None if encoding == "identity" else zlib.decompressobj(_WINDOW[encoding])
        self._bytes_max = min(limits.bytes_max, bodies.bytes_max)
        if json_size is None:
            self._bytes_max = min(self._bytes_max, JSON_BYTES_MAX)
        elif json_size > JSON_BYTES_MAX:
            raise MessageTooLarge(f"the body has {json_size} bytes of JSON, at most {JSON_BYTES_MAX} may be")
        if self._unpacker is not None:
            self._bytes_max = min(self._bytes_max, UNPACKED_BYTES_MAX)
        self._values = ValueCount(limits.values_max)
        self._content = bytearray()
        self.received = 0
        """Bytes before decompression."""

    @property
    def size(self) -> int:
        """Bytes that are held, unpacked."""
        return len(self._content)

    def check_size(self, size: int) -> None:
        """Raise MessageTooLarge if a body of so many bytes is more than may be."""
        if size <= self._bytes_max:
            return
        if self._bytes_max == self._message_bytes_max:
            raise self._too_large(size)
        if self._bytes_max == self._limits.bytes_max:
            raise MessageTooLarge(f"the body has over {self._bytes_max} bytes: {self._limits.reason}")
        what = "unpacked" if self._unpacker is not None else "as JSON"
        raise MessageTooLarge(
            f"the body has over {self._bytes_max} bytes {what}: send fewer rows at once, binary tensors "
            "without content-encoding, or use gRPC"
        )

    def feed(self, part: bytes) -> Iterator[None]:
        """Process a part. Yields between two steps, so that other tasks may run.

        Raises MessageTooLarge, Overloaded or BadRequest.
        """
        self.received += len(part)
        if self._unpacker is None:
            yield from self._hold(part)
            return
        room = 0
        while (
            part or room == 0
        ) and not self._unpacker.eof:  # when the room was filled, the decompressor may hold more
            room = min(SLICE_BYTES, self._bytes_max - self.size + 1)
            try:
                unpacked = self._unpacker.decompress(part, room)
            except zlib.error as error:
                raise BadRequest(f"the body is not {self._encoding}, as content-encoding declares: {error}") from error
            room -= len(unpacked)
            yield from self._hold(unpacked)
            if self.size > max(UNPACKED_FREE_BYTES, UNPACKED_RATIO_MAX * self.received):
                raise MessageTooLarge(
                    f"the body decompresses to more than {UNPACKED_RATIO_MAX} times its size: send it without "
                    "content-encoding"
                )
            part = self._unpacker.unconsumed_tail

    def _hold(self, part: bytes) -> Iterator[None]:
        for start in range(0, len(part), SLICE_BYTES):
            piece = part[start : start + SLICE_BYTES] if len(part) > SLICE_BYTES else part
            self.check_size(self.size + len(piece))
            self._room.take(len(piece), unpacked=self._unpacker is not None)
            self._content += piece
            end = self.size if self._json_size is None else min(self.size, self._json_size)
            if self._values.exceeds(self._content, end):
                raise MessageTooLarge(
                    f"the body has more values in JSON than can be used: {self._limits.reason}: send fewer rows at once"
                )
            if len(piece) == SLICE_BYTES:
                yield

    def whole(self) -> bytes:
        """The whole body, when all parts have arrived. Raises BadRequest."""
        if self._unpacker is not None and not self._unpacker.eof:
            raise BadRequest(f"the body ends before its {self._encoding} does")
        return bytes(self._content)
