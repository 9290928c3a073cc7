"""A real server on a real socket, in this process so that a test can hold its models and watch its runs."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skylane.policy import Policy
from skylane.server.app import App
from skylane.server.core.settings import Settings, Transport
from skylane.server.core.types import Array
from skylane.server.engine.cost import CostModel
from skylane.server.engine.served_version import LoadedModel
from skylane.server.lifecycle import running
from skylane.server.repository.verified_loading import load_version


class Gate:
    """Holds every run of a model until it is opened, and counts the rows of each."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        """Released once by each run that begins."""
        self.rows: list[int] = []
        self.loaded: list[weakref.ref[LoadedModel]] = []
        """Every model that was loaded, for as long as it is in memory."""

    def load(self, directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
        """Load as the server does, behind the gate. Runs are never inline, because they are reported as expensive."""
        model = load_version(directory, name, version, policy)
        held = replace(model, runner=_Held(model, self), cost=CostModel([(1, 1.0)]))
        self.loaded.append(weakref.ref(held))
        return held


class _Held:
    def __init__(self, model: LoadedModel, gate: Gate) -> None:
        self._model, self._gate = model, gate

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        self._gate.rows.append(len(inputs[0]))
        self._gate.entered.release()
        assert self._gate.opened.wait(30), "the test never opened the gate"
        return self._model.runner.run(inputs)


class RunningServer:
    """A server that serves in a thread of its own."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self._loop = app, loop
        self.address = f"127.0.0.1:{app.listener.port}"
        self.http_port = app.http.port if app.http else 0

    def refresh(self) -> None:
        """Look at the repository now, and return when everything new serves."""
        asyncio.run_coroutine_threadsafe(self.app.refresh(), self._loop).result(30)


@contextlib.contextmanager
def serving(
    models: Path,
    transport: Transport = "native",
    load: Callable[[Path, str, int, Policy], LoadedModel] = load_version,
    grace_s: float = 10.0,
    max_message_mb: int = 64,
    **more: Any,
) -> Iterator[RunningServer]:
    """Serve inside the block, and drain at its end. Scans the repository only on request. `more`: other settings."""
    settings = Settings(
        models=models, port=0, transport=transport, poll_s=0, grace_s=grace_s, max_message_mb=max_message_mb, **more
    )
    ready, failed = threading.Event(), list[BaseException]()
    box: list[RunningServer] = []
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        async with running(settings, load) as app:
            box.append(RunningServer(app, loop))
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="server-under-test")
    thread.start()
    ready.wait(60)
    if failed:
        thread.join()
        raise failed[0]
    try:
        yield box[0]
    finally:
        stop[0]()
        thread.join(60)
        if failed:
            raise failed[0]
