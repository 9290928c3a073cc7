"""Connections beyond the limit of a port: counted, and logged at intervals."""

import logging
import math
from typing import Final, Literal

log = logging.getLogger(__name__)

Port = Literal["grpc", "http"]

TOLD_S: Final = 10.0
"""Refused connections are logged at most this often, so that clients that reconnect at once do not fill the log."""


class RefusedConnections:
    """Connections that one port has refused. For the accepting thread; any thread may read."""

    def __init__(self, port: Port, connections_max: int, advice: str) -> None:
        """`advice`: what an operator can do about it."""
        self.port: Final = port
        self._connections_max, self._advice = connections_max, advice
        self.refused = 0
        """Connections since the start."""
        self._quiet_until = -math.inf

    def refuse(self, now: float) -> None:
        """Count a connection that was closed at once. `now`: seconds of any monotonic clock."""
        self.refused += 1
        if now >= self._quiet_until:
            self._quiet_until = now + TOLD_S
            log.warning(
                "the %s port has %d connections, its limit: new ones are closed immediately, %d so far; %s",
                self.port, self._connections_max, self.refused, self._advice,
            )  # fmt: skip
