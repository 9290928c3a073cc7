"""Runs one server: builds and starts it, follows its repository until it is asked to stop, drains it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from skylane.server.app import App
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings
from skylane.server.host import exits, signals
from skylane.server.listeners import DRAIN_READ_S_MAX
from skylane.server.repository.repository import Load

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    load: Load | None = None,
    *,
    asked_to_stop: asyncio.Event | None = None,
    waits: bool = False,
) -> AsyncIterator[App]:
    """A server that has loaded its models, serves inside the block and drains at its end. Raises CannotStart.

    `asked_to_stop`: if it is set while models are loaded, the block begins at once. `waits`: see App.
    """
    app = App(settings, load, waits=waits)
    await app.start()
    if asked_to_stop is not None:
        signals.on_reload(app.reload)
    repository = asyncio.create_task(app.load())
    stopping = asyncio.create_task((asked_to_stop or asyncio.Event()).wait())
    await asyncio.wait([repository, stopping], return_when=asyncio.FIRST_COMPLETED)
    if repository.done():
        try:
            repository.result()
        except CannotStart:
            await app.abandon()
            raise
        repository = asyncio.create_task(app.watch())
    else:
        log.info("stopped before it was ready")
    try:
        yield app
    finally:
        if asked_to_stop is not None:
            exits.leave_after(settings.linger_s + DRAIN_READ_S_MAX + settings.grace_s + exits.MARGIN_S)
        stopping.cancel()
        repository.cancel()
        await app.drain()


async def serve(settings: Settings, load: Load | None = None) -> None:
    """Serve until a signal, then drain. Raises CannotStart."""
    asked_to_stop = signals.asked_to_stop()
    async with running(settings, load, asked_to_stop=asked_to_stop):
        await asked_to_stop.wait()
    signals.ignore_all()
