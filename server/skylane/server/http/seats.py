"""Which connections a port keeps when the limit is reached. Pure.

A new connection takes the seat of the one that has been idle longest, between two requests or before the first. If none
is idle, it gets one of a few reserved seats, on which only health checks are answered; so probes are answered however
many connections are busy, slow or silent. Of the reserved seats, the oldest is reused first.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

RESERVED_PLACES: Final = 16

Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class Seat(Generic[Connection]):
    """The seat of a new connection."""

    reserved: bool
    closed: Connection | None
    """The connection that had the seat, and must be closed."""
    refused: bool = False
    """Whether `closed` had a reserved seat, which counts as refused."""


class Seats(Generic[Connection]):
    """Decides for the connections of one port."""

    def __init__(self, places: int, reserved_places: int = RESERVED_PLACES) -> None:
        self._places, self._reserved_places = places, reserved_places
        self._seated: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """The idle ones among the seated, the longest idle first."""
        self._reserved: dict[Connection, None] = {}
        """Oldest first."""

    def enter(self, connection: Connection) -> Seat[Connection]:
        """Seat a new connection, which has sent no request yet."""
        closed: Connection | None = None
        if len(self._seated) >= self._places:
            closed = next(iter(self._idle), None)
            if closed is None:
                return self._reserve(connection)
            self.leave(closed)
        self._seated.add(connection)
        self._idle[connection] = None
        return Seat(False, closed)

    def _reserve(self, connection: Connection) -> Seat[Connection]:
        closed: Connection | None = None
        if len(self._reserved) >= self._reserved_places:
            closed = next(iter(self._reserved))
            self.leave(closed)
        self._reserved[connection] = None
        return Seat(True, closed, refused=closed is not None)

    def mark_busy(self, connection: Connection) -> None:
        """A request has begun."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: Connection) -> None:
        """It has no request any more."""
        if connection in self._seated:
            self._idle[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is closed, or about to be."""
        self._seated.discard(connection)
        self._idle.pop(connection, None)
        self._reserved.pop(connection, None)
