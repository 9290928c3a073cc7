"""Which request is sent when, and whose fault it is if that is too late. Pure: knows no clock and no socket.

Latency is counted from the instant at which a request was due, whatever held it up: a server that stalls then shows its
true latency, instead of seeing fewer requests. What the generator itself adds to that is its lateness.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Pacer:
    """Requests in the order in which they are due. Instants are microseconds on the caller's clock, from 0."""

    def __init__(self, due_us: Sequence[int]) -> None:
        """`due_us`: for each request, ascending."""
        self._due_us = due_us
        self._next = 0
        self._held = False
        self._room_at_us = 0
        self.ready_us = np.zeros(len(due_us), np.int64)
        """For each request taken, when it could have been sent: when it was due, or, if later, when there was room."""

    def is_due(self, now_us: int) -> bool:
        """Whether the next request should be sent."""
        return self._next < len(self._due_us) and self._due_us[self._next] <= now_us

    def take(self, now_us: int) -> int:
        """The place of the next request, which is due and is sent now."""
        place = self._next
        if self._held:
            self._held, self._room_at_us = False, now_us
        self._next += 1
        self.ready_us[place] = max(self._due_us[place], self._room_at_us)
        return place

    def hold(self) -> None:
        """The server has taken all that it may be given at a time: until the next is taken, waiting is its fault."""
        self._held = True

    def wait_us(self, now_us: int) -> int | None:
        """How long until something is to be sent; None if only a reply can change that, or nothing is left."""
        if self._held or self._next == len(self._due_us):
            return None
        return max(self._due_us[self._next] - now_us, 0)

    def late_us(self, sent_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """How much later than it could have been each was sent that was taken."""
        late_us: NDArray[np.int64] = sent_us[: self._next] - self.ready_us[: self._next]
        return late_us
