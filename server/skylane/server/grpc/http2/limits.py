"""The limits of everything that a peer can make grow. docs/limits.md describes them for users."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one server, over all its connections unless said otherwise."""

    message_bytes: int = 64 * 2**20
    """Of one request, compressed or not."""
    header_bytes: int = 16 * 2**10
    """Of one request's metadata, uncompressed, with 32 bytes for each entry as HTTP/2 counts them."""
    streams: int = 1024
    """Requests in flight on one connection."""
    connections: int = 10_000
    partial_bytes: int = 512 * 2**20
    """Of requests that have not come whole, or were not handed over. At least two of the largest size fit."""
    passed_on: int = 1000
    """Calls of methods that are passed on to grpcio, under way at once; its server takes 1024 on one connection."""
    passed_on_each: int = 100
    """Of these, and of those that watch health, on one connection."""
    watching: int = 10_000
    """Calls that watch health."""
    unread_bytes: int = 4 * 2**20
    """Of replies that one peer does not read, before we stop reading what it sends."""
    unsent_bytes: int = 64 * 2**20
    """Of replies that one peer's windows have no room for, before its new requests are refused."""
    idle_frames: int = 10_000
    """Frames on one connection, in ten seconds, that bring no request: pings, settings, resets, empty data. Each
    request that comes makes up for a hundred."""
    abandoned: int = 1000
    """Calls that are passed on and given up before they are answered, on one connection in ten seconds. Nothing makes
    up for these: each costs more than a request."""
    stalled_s: float = 60.0
    """For a peer to take some of what we send it, to finish a request it began, or to finish a handshake."""
    connection_age_s: float = math.inf
    """After which a connection takes nothing new, give or take a tenth; what is under way on it ends as it would."""

    def __post_init__(self) -> None:
        if self.partial_bytes < 2 * self.message_bytes:
            object.__setattr__(self, "partial_bytes", 2 * self.message_bytes)


class Budget:
    """Bytes shared by all connections. Used by the reactor's thread only, so it has no lock."""

    def __init__(self, bytes_max: int) -> None:
        self.left = bytes_max


class Share:
    """What one connection holds of a budget: never more than it leaves to all others together.

    So one connection holds half at most, two a third each, and however many there are, one that holds nothing finds as
    much left as each of them has.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, size: int) -> bool:
        """Whether this connection may hold so much more; then it does."""
        left = self._budget.left - size
        if self.held + size > left:
            return False
        self._budget.left, self.held = left, self.held + size
        return True

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._budget.left += size
        self.held -= size


class Places:
    """How many calls of one kind may be under way at once, over all connections."""

    def __init__(self, places_max: int, full: str) -> None:
        """`full`: the error's text when none is left."""
        self._left, self.full = places_max, full

    def take(self) -> bool:
        """Whether one was left; then it is taken."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Return one that was taken."""
        self._left += 1
