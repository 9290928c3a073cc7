"""The file of tokens on disk, read again when it changes. The edge around tokens.py."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from skylane.server.auth.tokens import BadTokens, Credentials, decode
from skylane.server.core.errors import CannotStart
from skylane.server.core.token_scope import ANYONE, Grant

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""A change takes effect within this time."""

_Stamp = tuple[int, int, int]


class Authenticator:
    """Finds the grant of a token in the file; without a file, every caller has the grant ANYONE. Thread-safe."""

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` says when to look at the file again, `now` what has expired. Raises CannotStart if it is unusable."""
        self._path, self._clock, self._now = path, clock, now
        self._lock = Lock()
        self._looked_at = clock()
        self._stamp: _Stamp | None = None
        self._credentials: Credentials | None = None
        if path is not None:
            try:
                self._stamp = _stamp(path)
                self._credentials = decode(path.read_bytes())
            except (OSError, BadTokens) as error:
                raise CannotStart(f"tokens: {path}: {_told(error)}") from None

    @property
    def required(self) -> bool:
        """Whether callers need a token."""
        return self._path is not None

    def grant(self, header: str | None) -> Grant:
        """What this value of an authorization header allows now. Raises Unauthenticated. Costs microseconds."""
        if self._path is None:
            return ANYONE
        if self._clock() - self._looked_at >= LOOK_S:
            self._look(self._path)
        assert self._credentials is not None
        return self._credentials.grant(header, self._now())

    def poll(self) -> None:
        """Read the file now if it has changed."""
        if self._path is not None:
            self._look(self._path)

    def _look(self, path: Path) -> None:
        """Take over a file that has changed; an invalid one is logged once, and the previous tokens stay valid."""
        with self._lock:
            self._looked_at = self._clock()
            try:
                stamp = _stamp(path)
            except OSError:
                stamp = None
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._credentials = decode(path.read_bytes())
            except (OSError, BadTokens) as error:
                log.error("tokens: %s cannot be used, the previous ones stay in force: %s", path, _told(error))
            else:
                log.info("tokens: %s has changed: %d tokens are in force", path, len(self._credentials.tokens))


def _stamp(path: Path) -> _Stamp:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _told(error: OSError | BadTokens) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error).removeprefix("tokens: ")
