"""Keeps the served models equal to the repository on disk: refreshes when it has changed, or on request."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from skylane.server.host.daemons import run_in_daemon
from skylane.server.repository.repository import Repository

LOADING_POLL_S: Final = 1.0
"""How often loads in the background are polled if the repository is not."""


class RepositoryFollower:
    """Refreshes one repository. Belongs to the event loop."""

    def __init__(self, repository: Repository, poll_s: float, refreshed: Callable[[], Awaitable[None]]) -> None:
        """`poll_s`: seconds between two polls; 0 for none. `refreshed` is called after each refresh."""
        self._repository, self._poll_s, self._refreshed = repository, poll_s, refreshed
        self._lock = asyncio.Lock()
        """One refresh at a time: a poll and a request to load a model may coincide."""

    async def refresh(self) -> None:
        """Make the served models equal to those on disk, now."""
        async with self._lock:
            await run_in_daemon(self._repository.refresh, "refresh")
            await self._refreshed()

    async def load_all(self) -> None:
        """Refresh until every load of the first scan has ended."""
        await self.refresh()
        await self._follow_while(lambda: self._repository.is_loading and not self._repository.refreshed)

    async def watch(self) -> None:
        """Follow the repository until cancelled."""
        await self._follow_while(lambda: bool(self._poll_s or self._repository.is_loading))

    async def _follow_while(self, condition: Callable[[], bool]) -> None:
        stopped = threading.Event()
        try:
            while condition():
                await run_in_daemon(partial(self._wait_until_stale, stopped), "poll")
                await self.refresh()
        finally:
            stopped.set()

    def _wait_until_stale(self, stopped: threading.Event) -> None:
        """Poll until the repository has changed. On a thread: a disk that hangs must not stop the event loop, and an
        event loop that is not woken costs nothing."""
        while not stopped.wait(self._poll_s or LOADING_POLL_S):
            if self._repository.is_stale(time.monotonic()):
                return
