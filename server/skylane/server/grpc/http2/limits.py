"""What a stranger can make grow, and how far. docs/limits.md tells the same to those who meet them."""

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
    """Of requests that have not come whole. At least one request of the largest size fits."""
    unread_bytes: int = 4 * 2**20
    """Of replies that one peer does not read, before we stop reading what it sends."""
    unsent_bytes: int = 64 * 2**20
    """Of replies that one peer's windows have no room for, before its new requests are refused."""
    idle_frames: int = 10_000
    """Frames on one connection, in ten seconds, that bring no request: pings, settings, resets, empty data. Each
    request that comes makes up for a hundred."""
    stalled_s: float = 60.0
    """For a peer to take some of what we send it, to finish a request it began, or to finish a handshake."""
    connection_age_s: float = math.inf
    """After which a connection takes nothing new, give or take a tenth; what is under way on it ends as it would."""

    def __post_init__(self) -> None:
        if self.partial_bytes < self.message_bytes:
            object.__setattr__(self, "partial_bytes", self.message_bytes)


class Budget:
    """Bytes shared by all connections. Used by one thread for each front, so it has no lock."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max

    def take(self, size: int) -> bool:
        """Whether so much was left; then it is taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._left += size
