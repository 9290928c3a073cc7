"""Requests that were answered without a model: refused before one was found, or never meant for one. Plain data.

Those that a model was asked for are counted with it, see server/skylane/server/engine/statistics.py; together they are
all requests.
"""

from collections import Counter
from collections.abc import Mapping
from threading import Lock


class RejectionCounter:
    """How such requests ended. Thread-safe. Labels are the server's own words, so a stranger cannot make it grow."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counted: Counter[tuple[str, str]] = Counter()

    def add(self, protocol: str, ended: str, requests: int = 1) -> None:
        """So many ended so: `ended` is the name of an error's class or of a status, and nothing for an answer."""
        with self._lock:
            self._counted[protocol, ended] += requests

    def counted(self) -> Mapping[tuple[str, str], int]:
        """(protocol, how it ended) → requests."""
        with self._lock:
            return dict(self._counted)
