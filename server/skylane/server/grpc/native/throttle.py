"""Peers that flood, and those that come back after their connections were ended for it: what they get, and how much.

They are not refused, since others may be behind the same address. Their connections share a part of the reactor's time,
so that nobody else waits for them, however often they come again.
"""

import ipaddress
import logging
import socket
from collections import OrderedDict
from typing import Any, Final

log = logging.getLogger(__name__)

THROTTLED_SHARE: Final = 0.25
"""Of the reactor's time, for all connections that flood together."""
BURST_S: Final = 10e-3
"""Of the reactor's time that they may use at once."""
OFFENCES_MAX: Final = 3
"""Connections from one address, ended because their peer broke the protocol or flooded, within OFFENCE_S."""
OFFENCE_S: Final = 60.0
SOURCES_MAX: Final = 4096
"""Addresses remembered; the one that offended longest ago is forgotten first."""
_NETWORK_BITS: Final = 64
"""Of an IPv6 address: one host may have all addresses of such a network."""


class Throttle:
    """The time that throttled connections may use: it grows at a steady rate, up to a burst."""

    def __init__(self, share: float = THROTTLED_SHARE, burst_s: float = BURST_S) -> None:
        self._share, self._burst_s = share, burst_s
        self._left_s, self._at = burst_s, 0.0

    def is_open(self, now: float) -> bool:
        """Whether a throttled connection may be read."""
        self._left_s = min(self._left_s + (now - self._at) * self._share, self._burst_s)
        self._at = now
        return self._left_s > 0.0

    def spend(self, seconds: float) -> None:
        """One was read, which took so long."""
        self._left_s -= seconds

    @property
    def opens_at(self) -> float:
        """When one may be read again."""
        return self._at + max(self._burst_s / 2 - self._left_s, 0.0) / self._share


class Offenders:
    """Addresses whose connections were ended for what their peers did."""

    def __init__(self) -> None:
        self._offences: OrderedDict[str, list[float]] = OrderedDict()
        """Address → instants of the last offences."""

    def add(self, source: str, now: float) -> None:
        """A connection from this address was ended for what its peer did."""
        if not source:
            return
        offences = self._offences.setdefault(source, [])
        self._offences.move_to_end(source)
        was_included = self.includes(source, now)
        offences.append(now)
        del offences[:-OFFENCES_MAX]
        if self.includes(source, now) and not was_included:
            log.warning(
                "%d connections from %s were ended within %.0f s because they flooded or broke the protocol: until "
                "they send requests, new ones from there share a part of the time with others like them",
                len(offences), source, OFFENCE_S,
            )  # fmt: skip
        if len(self._offences) > SOURCES_MAX:
            self._offences.popitem(last=False)

    def includes(self, source: str, now: float) -> bool:
        """Whether so many were ended lately that new ones are throttled until they send requests."""
        offences = self._offences.get(source, ())
        return len(offences) >= OFFENCES_MAX and now - offences[0] < OFFENCE_S


def source_of(family: int, address: Any) -> str:
    """What `accept` says of a peer → the address or network that it comes from; empty for a Unix domain socket."""
    if family == socket.AF_INET:
        return str(address[0])
    if family == socket.AF_INET6:
        host = str(address[0]).partition("%")[0]
        return str(ipaddress.ip_network((host, _NETWORK_BITS), strict=False))
    return ""
