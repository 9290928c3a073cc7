"""The composition root: builds the server, starts it and drains it. The only module that knows everyone.

Start: bind the port, so that a port in use is heard of at once; load every model; then receive. Nobody is answered by a
server that is half loaded. One of several workers binds only after loading: until then the others answer. Stop, at
SIGTERM or SIGINT: say not-serving; linger if asked, still answering; let no new gRPC client in, ask those that are here
to go elsewhere, and answer until they have heard; refuse what is new; let what is in flight finish, for the grace
period at most; close. Only our own front can ask them: grpcio's clients may be refused what they send just then.
"""

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

from skylane.server.admin import cpu_demand
from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.readiness import Readiness
from skylane.server.auth.authenticator import Authenticator
from skylane.server.codecs.grpc_status import STATUS_OF
from skylane.server.codecs.skylane_v1.requests import PREDICT
from skylane.server.core.errors import CannotStart
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.settings import Settings
from skylane.server.engine.engine import Engine
from skylane.server.engine.observer import all_of
from skylane.server.engine.routes import Routes
from skylane.server.engine.worker_pool import LoopWorkers
from skylane.server.grpc.base.method_protocols import protocol_of
from skylane.server.grpc.base.traced_methods import traced
from skylane.server.grpc.grpcio.model_service import ModelService
from skylane.server.grpc.grpcio.permission import Permission
from skylane.server.grpc.grpcio.server import HotServices, make_server
from skylane.server.grpc.listener import CannotListen, Listener, listen
from skylane.server.grpc.registry import Service, batched_methods, services
from skylane.server.host import signals
from skylane.server.host.reuseport_ebpf import share_in_turn
from skylane.server.observability.access_log import AccessLog
from skylane.server.observability.collector import Collector
from skylane.server.observability.metrics_service import MetricsService
from skylane.server.observability.snapshot import PortSnapshot, SpanSnapshot
from skylane.server.observability.tracing.setting import tracing_of
from skylane.server.observability.tracing.tracer import FollowedEngine
from skylane.server.observability.unrouted_requests import UnroutedRequests
from skylane.server.repository import loader
from skylane.server.repository.repository import Load, ModelStatus, Repository, State

if TYPE_CHECKING:
    from skylane.server.http.listener import HttpListener

log = logging.getLogger(__name__)

_STATUSES = {error.__name__: code.name for error, code in STATUS_OF.items()}
_CODES = {error.__name__: int(code.value[0]) for error, code in STATUS_OF.items()}

DRAIN_LOOK_S = 0.01
"""How often a draining server looks whether the last reply is out."""
HEARD_S_MAX = 1.0
"""What clients get to hear that a server drains, which takes them a round trip; it goes on answering meanwhile."""
OTHERS_END_S_MAX = 1.0
"""What tasks of others get to notice that the server has closed. They take a turn of the loop or two."""


class App:
    """One server: everything built and wired, nothing started."""

    def __init__(self, settings: Settings, load: Load = loader.load) -> None:
        """Bind the port, unless it is shared with other workers. Needs a running event loop. Raises CannotStart."""
        if not settings.models.is_dir():
            raise CannotStart(f"models: {settings.models} is not a directory: name the model repository with --models")
        self._settings = settings
        self._workers = LoopWorkers(asyncio.get_running_loop())
        self._tracing = tracing_of(settings, time.monotonic, _CODES)
        self._tracer = tracer = self._tracing.tracer if self._tracing else None
        self._trace_of = tracer.trace_of if tracer else None
        access = AccessLog(time.monotonic, _STATUSES) if settings.access_log else None
        rejections = RejectionCounter()
        self._doors = UnroutedRequests(rejections, protocol_of, access)
        self._engine = Engine(self._workers, time.monotonic, observer=all_of(tracer, access), rejections=rejections)
        self._answerer = FollowedEngine(self._engine, tracer) if tracer else self._engine
        self._authenticator = Authenticator(settings.tokens)
        self._routes = Routes()
        self._collector = Collector(rejections.counted)
        self._repository = Repository(settings.models, self._collector.timed(load), self._serve, settings.shared)
        self._refreshing = asyncio.Lock()
        """One look at the repository at a time, whether it is time for one or somebody loads a model."""
        self._readiness = Readiness()
        permission = Permission(self._authenticator, self._doors.ended if settings.transport == "grpcio" else None)
        self._about = ModelService(self._readiness, permission)
        self._directory = ModelControl(
            routes=lambda: self._routes,
            repository=self._repository,
            readiness=self._readiness,
            figures=lambda: self._telling.figures(),
            refresh=self.refresh,
            anyone_administrates=settings.allow_admin,
            shares_port=settings.supervised,
        )
        self._telling = MetricsService(
            self._collector,
            self._directory.status,
            _STATUSES,
            ports=self._ports,
            spans=lambda: self._tracing.spans if self._tracing else SpanSnapshot(),
            transport=settings.transport,
            directory=settings.shared,
            triton_names=settings.triton_metrics,
        )
        self._hot = batched_methods(self._answerer, time.monotonic, settings.message_bytes_max, rejections)
        for watcher in (tracer, access):
            if watcher:
                self._hot = traced(self._hot, watcher.arrive)
        self._prediction = HotServices(self._hot, permission, time.monotonic, self._trace_of)
        own_front = settings.transport == "native"
        self._server = make_server(
            settings.message_bytes_max,
            permission,
            share_port=settings.supervised,
            connection_age_s=0.0 if own_front else settings.max_connection_age_s,
        )
        told: tuple[Service, ...] = (self._prediction, self._about, *services(self._directory, permission))
        for service in told:
            service.add_to(self._server)
        self._bound = False
        self.listener: Listener
        self.http: HttpListener | None = None
        """None where no HTTP was asked for."""
        if not settings.supervised:
            self._bind()

    def _bind(self) -> None:
        """Bind, which lets the kernel queue connections from now on."""
        if self._settings.http_port is not None:
            self.http = self._bind_http()
        try:
            self.listener = listen(
                self._settings, self._server, self._hot, self._authenticator, self._trace_of, self._doors.ended
            )
        except CannotListen as error:
            if self.http:
                self.http.release()
            raise CannotStart(str(error)) from error
        self._bound = True

    def _bind_http(self) -> "HttpListener":
        from skylane.server.http.server import bind  # only now: it costs memory that gRPC alone does not need

        return bind(
            self._settings,
            self._answerer,
            time.monotonic,
            authenticator=self._authenticator,
            directory=self._directory,
            too_large=self._hot.unary[PREDICT].too_large,
            metrics=self._telling.pages(),
            live=self._live,
            tracer=self._tracer,
            http_requests=self._doors,
        )

    def _ports(self) -> Iterator[PortSnapshot]:
        """Those that tell of their connections."""
        for each in (self.listener, self.http) if self._bound else ():
            if each is not None and each.refused_connections is not None:
                yield PortSnapshot(
                    each.refused_connections.port, each.connections or 0, each.refused_connections.refused
                )

    async def _live(self) -> bytes:
        return await self._telling.snapshot(ready=self._readiness.whole)

    def _serve(self, routes: Routes) -> None:
        self._routes = routes
        self._engine.serve(routes)
        self._collector.follow(routes)

    async def start(self) -> None:
        """Load what is in the repository, and begin to receive. Raises CannotStart."""
        started_at = time.monotonic()
        await self._telling.start()
        if not self._settings.supervised:  # else the supervisor has told it for all
            cpu_demand.tell(self._settings)
        await self.refresh()
        _set_apart_what_stays()
        if self._settings.supervised:  # only now: a connection must not wait for a worker that is still loading
            self._bind()
            ports = [self.listener.port, *([self.http.port] if self.http else [])]
            told = [share_in_turn(port, self._settings.workers) for port in ports]
            log.debug("connections are shared %s", "in turn" if all(told) else "by the kernel's hash")
        await self.listener.start()
        if self.http:
            await self.http.start()
        if not self._repository.status:
            root = self._settings.models
            log.warning("%s has no model: expected %s/<name>/<version>/manifest.json", root, root)
        log.info(
            "%s %s on %s:%d (%s transport) after %.1f s",
            "worker with" if self._settings.supervised else "serving",
            _counted(self._repository.status),
            self._settings.host,
            self.listener.port,
            self.listener.name,
            time.monotonic() - started_at,
        )
        if self.http:
            url = f"{self.http.scheme}://{self._settings.host}:{self.http.port}"
            log.info("HTTP on %s; live page: %s/, what can be asked: %s/docs", url, url, url)

    async def watch(self) -> None:
        """Follow the repository until cancelled."""
        stopped = threading.Event()
        try:
            while self._settings.poll_s:
                await asyncio.to_thread(self._wait_until_stale, stopped)
                await self.refresh()
        finally:
            stopped.set()

    def _wait_until_stale(self, stopped: threading.Event) -> None:
        """Look at the repository now and then. On a thread: a disk that hangs must not stop the loop, and a loop that
        is not woken costs nothing."""
        while not stopped.wait(self._settings.poll_s):
            if self._repository.is_stale(time.monotonic()):
                return

    async def refresh(self) -> None:
        """Make what is served equal to what is on disk, now."""
        async with self._refreshing:
            await asyncio.to_thread(self._repository.refresh)
            self._readiness.tell(self._repository.status, complete=self._repository.refreshed)
            await self._about.tell(self._repository.status, self._routes)

    async def drain(self) -> None:
        """Answer what is in flight, for the grace period at most, and close."""
        settings, began_at = self._settings, time.monotonic()
        log.info("draining: not serving from now on; requests in flight have %.0f s to finish", settings.grace_s)
        self._readiness.drain()
        await self._about.drain()
        await asyncio.sleep(settings.linger_s)
        self._prediction.drain()
        self.listener.drain()
        heard_by = time.monotonic() + HEARD_S_MAX
        while not self.listener.heard and time.monotonic() < heard_by:
            await asyncio.sleep(DRAIN_LOOK_S)
        self._engine.stop()
        ends_at = time.monotonic() + settings.grace_s
        while (busy := self._busy()) and time.monotonic() < ends_at:
            await asyncio.sleep(DRAIN_LOOK_S)
        if busy:
            log.warning("the grace period is over; requests still in flight are cut off")
        await self.listener.close()
        if self.http:
            await self.http.close()
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)
        await self._telling.close()
        self._workers.close()
        await _others_end()
        log.info("closed after %.2f s", time.monotonic() - began_at)

    def _busy(self) -> bool:
        return (
            not self._engine.idle
            or self._prediction.open > 0
            or self.listener.busy
            or bool(self.http and self.http.busy)
        )


@contextlib.asynccontextmanager
async def running(settings: Settings, load: Load = loader.load) -> AsyncIterator[App]:
    """A server that serves inside the block, and drains at its end. Raises CannotStart."""
    app = App(settings, load)
    await app.start()
    watcher = asyncio.create_task(app.watch())
    try:
        yield app
    finally:
        watcher.cancel()
        await app.drain()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises CannotStart."""
    asked_to_stop = signals.asked_to_stop()
    async with running(settings):
        await asked_to_stop.wait()


async def _others_end() -> None:
    """Let what grpcio began for each call come to its end. What the loop cancels at its own end prints a traceback."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=OTHERS_END_S_MAX)


def _set_apart_what_stays() -> None:
    """Let the garbage collector skip the modules and models that are here to stay: a full collection took 12 ms."""
    gc.collect()
    gc.freeze()


def _counted(status: Mapping[str, ModelStatus]) -> str:
    ready = sum(model.ready for model in status.values())
    failed = sum(v.state is State.FAILED for model in status.values() for v in model.versions.values())
    return cpu_demand.counted(ready, "model") + (
        f" ({cpu_demand.counted(failed, 'version')} refused)" if failed else ""
    )
