"""Which connections a port keeps when there are more than it may have. Pure.

A newcomer takes the place of whoever has rested longest: between two requests, or before the first. Where nobody rests,
it gets one of a few reserved places, on which health alone is answered; so a probe is heard however many connections
are busy, slow or silent. Of the reserved places the oldest is given up first.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

RESERVED_PLACES: Final = 16

Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class Seat(Generic[Connection]):
    """Where a newcomer is."""

    reserved: bool
    closed: Connection | None
    """Whose place it has, and who is to be closed."""
    refused: bool = False
    """Whether `closed` was on a reserved place, that is to say refused."""


class Seats(Generic[Connection]):
    """Decides for the connections of one port."""

    def __init__(self, places: int, reserved_places: int = RESERVED_PLACES) -> None:
        self._places, self._reserved_places = places, reserved_places
        self._seated: set[Connection] = set()
        self._resting: dict[Connection, None] = {}
        """Of the seated, who has rested longest first."""
        self._reserved: dict[Connection, None] = {}
        """Oldest first."""

    def enter(self, connection: Connection) -> Seat[Connection]:
        """A newcomer, which has asked nothing yet."""
        closed: Connection | None = None
        if len(self._seated) >= self._places:
            closed = next(iter(self._resting), None)
            if closed is None:
                return self._reserve(connection)
            self.leave(closed)
        self._seated.add(connection)
        self._resting[connection] = None
        return Seat(False, closed)

    def _reserve(self, connection: Connection) -> Seat[Connection]:
        closed: Connection | None = None
        if len(self._reserved) >= self._reserved_places:
            closed = next(iter(self._reserved))
            self.leave(closed)
        self._reserved[connection] = None
        return Seat(True, closed, refused=closed is not None)

    def wake(self, connection: Connection) -> None:
        """A request begins."""
        self._resting.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """Its answer is with the connection, and nothing else was asked."""
        if connection in self._seated:
            self._resting[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is closed, or about to be."""
        self._seated.discard(connection)
        self._resting.pop(connection, None)
        self._reserved.pop(connection, None)
