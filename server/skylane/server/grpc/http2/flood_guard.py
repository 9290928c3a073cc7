"""Limits on frames that bring no request, and on stalls."""

from collections.abc import Hashable
from typing import Final

from skylane.server.grpc.http2.frames import Code, ConnectionFault

IDLE_FRAMES_S: Final = 10.0
"""Over which frames that bring no request are counted."""
IDLE_FRAMES_FORGIVEN: Final = 100
"""For each request that came whole."""
EXCESS_BYTES: Final = 256
"""Of what was unpacked from far fewer bytes: so many cost as much as a frame that brings no request."""
STRAIN: Final = 10
"""A connection is throttled when this part of what would end it has come."""
FLOOD: Final = "too many frames that bring no request"
ABANDONED: Final = "too many calls that were given up before they were answered"


class FloodGuard:
    """Counts frames that cost the server work but bring no request: pings, settings, resets, empty data, and requests
    that are refused for their headers."""

    def __init__(self, frames_max: int, reason: str = FLOOD) -> None:
        """`reason`: the GOAWAY's text when the connection ends."""
        self._frames_max, self._reason = frames_max, reason
        self.frames = 0
        """Below 0 while requests have made up for more than came."""
        self._until = 0.0

    @property
    def is_strained(self) -> bool:
        """Whether a tenth of what ends the connection has come."""
        return self.frames > self._frames_max // STRAIN

    def lose(self, now: float, count: int = 1) -> None:
        """So many more of them. Too many in too short a time end the connection: raises ConnectionFault."""
        if now >= self._until:
            self.frames, self._until = 0, now + IDLE_FRAMES_S
        self.frames = max(self.frames, 0) + count
        if self.frames > self._frames_max:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, self._reason)


class StallGuard:
    """Measures for how long something has made no progress. To be polled every second or so while it waits."""

    def __init__(self) -> None:
        self._sign: Hashable = None
        self._since = 0.0

    def lasts_s(self, sign: Hashable, now: float) -> float:
        """Seconds without progress. `sign`: a value that differs after progress; None while nothing waits."""
        if sign is None or sign != self._sign:
            self._sign, self._since = sign, now
        return now - self._since


class ClosedStreams:
    """Streams that the server ended while the peer was sending: it may still send what the window allows."""

    def __init__(self, streams_max: int) -> None:
        self._streams_max = streams_max
        self._windows: dict[int, int] = {}
        """Stream → bytes that may still come, which are no fault."""

    def __contains__(self, stream_id: int) -> bool:
        """Whether it is one of them."""
        return stream_id in self._windows

    def add(self, stream_id: int, window: int) -> None:
        """One more; the oldest is forgotten for it."""
        if len(self._windows) >= self._streams_max:
            del self._windows[next(iter(self._windows))]
        self._windows[stream_id] = window

    def spend(self, stream_id: int, size: int) -> bool:
        """Whether its window had room for so many bytes, which have come."""
        left = self._windows.get(stream_id, 0) - size
        if left < 0:
            return False
        self._windows[stream_id] = left
        return True
