"""Counts requests that reached no model: refused before the route was resolved, or not for a model at all.

Requests that reached a model are counted in engine/statistics.py; both together are all requests.
"""

from collections import Counter
from collections.abc import Mapping
from threading import Lock


class RejectionCounter:
    """Requests by protocol and outcome. Thread-safe. Clients cannot choose the labels, so its size is bounded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, protocol: str, outcome: str, requests: int = 1) -> None:
        """Count requests. `outcome`: the name of an error's class or of a status, empty for an answer."""
        with self._lock:
            self._counts[protocol, outcome] += requests

    def counted(self) -> Mapping[tuple[str, str], int]:
        """(protocol, outcome) → requests."""
        with self._lock:
            return dict(self._counts)
