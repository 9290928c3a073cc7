"""Requests that no model counts: counted here and, if the access log is configured, logged."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.observability.access_log import OK, AccessLog
from skylane.server.observability.http_request_log import HttpRequestRecord


class UnroutedRequests:
    """Is notified of them by every transport. Thread-safe."""

    def __init__(
        self, rejections: RejectionCounter, protocol_of: Callable[[str], str], access: AccessLog | None
    ) -> None:
        """`protocol_of`: path of a method → the name under which its requests are counted."""
        self._rejections, self._protocol_of, self._access = rejections, protocol_of, access

    def ended(self, path: str, status: str, request_id: str) -> None:
        """A request over gRPC has ended. See skylane.server.grpc.base.method_table.CallEnded."""
        protocol = self._protocol_of(path)
        self._rejections.add(protocol, "" if status == OK else status)
        if self._access is not None:
            self._access.ended(protocol, path, status, request_id)

    def left(self, http_request: HttpRequestRecord, status: int, scope: Mapping[str, Any]) -> None:
        """A request over HTTP has ended, whether the engine counts it or not. See HttpRequestListener."""
        if not http_request.counted and status:
            self._rejections.add(http_request.protocol, http_request.ended(status))
        if self._access is not None:
            taken_s = time.monotonic() - http_request.began_at
            method, path = scope.get("method", ""), scope.get("path", "")
            self._access.left(http_request.protocol, method, path, status, taken_s, http_request.request_id)
