"""Requests that no model counts: where they are counted and, if somebody asked for it, logged."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from server.observe.access import OK, AccessLog
from server.tally import Tally
from server.visit import Visit


class Doors:
    """Hears of them from every transport. Thread-safe."""

    def __init__(self, unserved: Tally, protocol_of: Callable[[str], str], access: AccessLog | None) -> None:
        """`protocol_of`: path of a method → the name under which its requests are counted."""
        self._unserved, self._protocol_of, self._access = unserved, protocol_of, access

    def ended(self, path: str, status: str, request_id: str) -> None:
        """A request over gRPC. See server.transport.h2.connection.Ended."""
        protocol = self._protocol_of(path)
        self._unserved.add(protocol, "" if status == OK else status)
        if self._access is not None:
            self._access.ended(protocol, path, status, request_id)

    def left(self, visit: Visit, status: int, scope: Mapping[str, Any]) -> None:
        """A request over HTTP, whoever counts it. See server.http.visit.Visitors."""
        if not visit.counted and status:
            self._unserved.add(visit.protocol, visit.ended(status))
        if self._access is not None:
            taken_s = time.monotonic() - visit.began_at
            method, path = scope.get("method", ""), scope.get("path", "")
            self._access.left(visit.protocol, method, path, status, taken_s, visit.request_id)
