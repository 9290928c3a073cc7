"""The composition root: builds the server, starts it and drains it. The only module that knows everyone.

Start: bind the port, so that a port in use is heard of at once; receive, and say not-serving; load every model; then
say serving. Meanwhile a model that is loaded answers, and callers of the others hear that it is not loaded yet. A
worker that takes the place of another binds only after loading: until then its neighbours answer. Several workers that
start together say serving when all have loaded. Stop, at a signal: say not-serving; linger if asked, still answering;
let no new gRPC client in, ask those that are here to go elsewhere, and answer until they have heard; refuse what is
new; let what is in flight finish, for the grace period at most; close. Only our own front can ask them: grpcio's
clients may be refused what they send just then.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from skylane.server.admin import cpu_demand
from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.readiness import Readiness
from skylane.server.auth.authenticator import Authenticator
from skylane.server.codecs.grpc_status import STATUS_OF
from skylane.server.codecs.skylane_v1.requests import PREDICT
from skylane.server.core.errors import CannotStart
from skylane.server.core.hosts import internet
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
from skylane.server.host import exits, signals
from skylane.server.host.addresses import all_shown, shown
from skylane.server.host.daemons import check_repository, run_in_daemon, try_in_daemon
from skylane.server.host.reuseport_ebpf import share_in_turn
from skylane.server.observability.access_log import AccessLog
from skylane.server.observability.collector import Collector
from skylane.server.observability.metrics_service import MetricsService
from skylane.server.observability.snapshot import PortSnapshot, SpanSnapshot
from skylane.server.observability.tracing.setting import tracing_of
from skylane.server.observability.tracing.tracer import FollowedEngine
from skylane.server.observability.unrouted_requests import UnroutedRequests
from skylane.server.repository import loader
from skylane.server.repository.loading import LoadLimits
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
LOADING_POLL_S = 1.0
"""How often loads that take long are looked for where the repository is not polled."""
LOAD_MARGIN_S = 5.0
"""After its time limit, what a load gets to end by itself, which tells more than that it did not end."""
SETTLE_POLLS, WRITTEN_POLLS = 2, 10
"""Polls without a change after which a version that is being written is tried again, and is refused."""
OTHERS_END_S_MAX = 1.0
"""What tasks of others get to notice that the server has closed. They take a turn of the loop or two."""


class App:
    """One server: everything built and wired, nothing started."""

    def __init__(self, settings: Settings, load: Load | None = None, *, waits: bool = False) -> None:
        """Bind the port, unless other workers answer on it. Needs a running event loop. Raises CannotStart.

        `load`: None for the server's own. `waits`: whether it is ready only when `go` is called, though its models are
        loaded.
        """
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._workers = LoopWorkers(self._loop)
        self._tracing = tracing_of(settings, time.monotonic, _CODES)
        self._tracer = tracer = self._tracing.tracer if self._tracing else None
        self._trace_of = tracer.trace_of if tracer else None
        access = AccessLog(time.monotonic, _STATUSES) if settings.access_log else None
        rejections = RejectionCounter()
        self._doors = UnroutedRequests(rejections, protocol_of, access)
        self._engine = Engine(self._workers, time.monotonic, rejections, observer=all_of(tracer, access))
        self._answerer = FollowedEngine(self._engine, tracer) if tracer else self._engine
        self._authenticator = Authenticator(settings.tokens)
        self._routes = Routes()
        self._collector = Collector(rejections.counted)
        load = load or partial(loader.load, time_limit_s=settings.load_timeout_s)
        self._repository = Repository(
            settings.models, self._collector.timed(load), self._serve, settings.shared, _limits_of(settings)
        )
        self._refreshing = asyncio.Lock()
        """One look at the repository at a time, whether it is time for one or somebody loads a model."""
        self._readiness = Readiness()
        own_front = settings.transport == "native"
        self._secret = secrets.token_hex(16) if own_front else ""
        permission = Permission(self._authenticator, None if own_front else self._doors.ended, self._secret)
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
        self._server = make_server(
            settings.message_bytes_max,
            permission,
            share_port=settings.supervised,
            connection_age_s=0.0 if own_front else settings.max_connection_age_s,
        )
        told: tuple[Service, ...] = (self._prediction, self._about, *services(self._directory, permission))
        self._direct = {path: answer for service in told for path, answer in service.direct.items()}
        for service in told:
            service.add_to(self._server)
        self._waits = waits
        self._reloading: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._bound = self._receiving = False
        self.listener: Listener
        self.http: HttpListener | None = None
        """None where HTTP is not configured."""
        if not settings.replaces:
            self._bind()

    def _bind(self) -> None:
        """Bind, which lets the kernel queue connections from now on."""
        if self._settings.http_port is not None:
            self.http = self._bind_http()
        try:
            self.listener = listen(
                self._settings,
                self._server,
                self._hot,
                self._authenticator,
                self._secret,
                self._trace_of,
                self._doors.ended,
                self._direct,
                self._about.health,
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
        if not self._repository.refreshed:  # later changes are announced when all of them are made
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there
                self._loop.call_soon_threadsafe(self._announce_soon)

    def _announce_soon(self) -> None:
        """Announce in a task, unless one is about to."""
        if self._announcing is None or self._announcing.done():
            self._announcing = self._loop.create_task(self._announce())

    async def start(self) -> None:
        """Receive requests, though no model is loaded yet, unless other workers answer them. Raises CannotStart."""
        await self._telling.start()
        self._serve(Routes(is_starting=True))
        if not self._settings.replaces:
            await self._receive()

    def _urls(self) -> list[str]:
        """Where HTTP is, if anywhere."""
        if self.http is None:
            return []
        return [f"{self.http.scheme}://{shown(host, self.http.port)}" for host in internet(self._settings.host)]

    async def _receive(self) -> None:
        await self._announce()
        if self._settings.supervised:
            ports = [self.listener.port, *([self.http.port] if self.http else [])]
            told = [share_in_turn(port, self._settings.workers) for port in ports]
            log.debug("connections are shared %s", "in turn" if all(told) else "by the kernel's hash")
        await self.listener.start()
        if self.http:
            await self.http.start()
        self._receiving = True

    async def load(self) -> None:
        """Load what is in the repository. Raises CannotStart if the port cannot be bound then."""
        started_at = time.monotonic()
        await check_repository(self._settings.models)
        if self._receiving:
            http = f", {', '.join(self._urls())} for HTTP" if self.http else ""
            where = all_shown(self._settings.host, self.listener.port)
            log.info("listening on %s for gRPC%s; ready when the models are loaded", where, http)
        if not self._settings.supervised:  # else the supervisor has told it for all
            await try_in_daemon(lambda: cpu_demand.tell(self._settings), "budget")
        await self.refresh()
        stopped = threading.Event()
        try:
            while self._repository.is_loading and not self._repository.refreshed:
                await run_in_daemon(lambda: self._wait_until_stale(stopped), "poll")
                await self.refresh()
        finally:
            stopped.set()
        _set_apart_what_stays()
        if not self._bound:
            self._bind()
            await self._receive()
        if not self._repository.status:
            root = self._settings.models
            log.warning("%s has no model: expected %s/<name>/<version>/manifest.json", root, root)
        log.info(
            "%s %s on %s (%s transport) after %.1f s",
            "worker with" if self._settings.supervised else "serving",
            _counted(self._repository.status),
            all_shown(self._settings.host, self.listener.port),
            self.listener.name,
            time.monotonic() - started_at,
        )
        if urls := self._urls():
            log.info("HTTP on %s; live page: %s/, API: %s/docs", ", ".join(urls), urls[0], urls[0])

    async def go(self) -> None:
        """Be ready from now on, if models are: every other worker is. See `waits`."""
        self._waits = False
        await self._announce()

    def if_alive(self, then: Callable[[], None]) -> None:
        """Call this where requests are answered, soon; never, if that hangs. From the event loop."""
        if self._receiving:
            self.listener.if_alive(then)
        else:
            then()

    def reload(self) -> None:
        """Poll the certificates, the tokens and the repository now, as a task. From the event loop."""
        if self._reloading is None or self._reloading.done():
            log.info("SIGHUP: the repository, the certificates and the tokens are polled now")
            self._reloading = self._loop.create_task(self._reload())

    async def _reload(self) -> None:
        polls = [self._authenticator.poll]
        if self._bound:
            polls += [self.listener.poll_certificates, *([self.http.poll_certificates] if self.http else [])]
        for poll in polls:
            await run_in_daemon(poll, "reload")
        await self.refresh()

    async def watch(self) -> None:
        """Follow the repository until cancelled."""
        stopped = threading.Event()
        try:
            while self._settings.poll_s or self._repository.is_loading:
                await run_in_daemon(lambda: self._wait_until_stale(stopped), "poll")
                await self.refresh()
        finally:
            stopped.set()

    def _wait_until_stale(self, stopped: threading.Event) -> None:
        """Look at the repository now and then. On a thread: a disk that hangs must not stop the loop, and a loop that
        is not woken costs nothing."""
        while not stopped.wait(self._settings.poll_s or LOADING_POLL_S):
            if self._repository.is_stale(time.monotonic()):
                return

    async def refresh(self) -> None:
        """Make what is served equal to what is on disk, now."""
        async with self._refreshing:
            await run_in_daemon(self._repository.refresh, "refresh")
            await self._announce()

    async def _announce(self) -> None:
        """Tell every health service what is ready."""
        complete = self._repository.refreshed and not self._waits
        self._readiness.tell(self._repository.status, complete=complete, progress=self._repository.progress)
        await self._about.tell(self._repository.status, self._routes)

    async def drain(self) -> None:
        """Answer what is in flight, for the grace period at most, and close."""
        settings, began_at = self._settings, time.monotonic()
        log.info("draining: not serving from now on; requests in flight have %.0f s to finish", settings.grace_s)
        if self._reloading is not None:
            self._reloading.cancel()
        self._readiness.drain()
        await self._about.drain()
        await asyncio.sleep(settings.linger_s)
        self._prediction.drain()
        if self._bound:
            self.listener.drain()
            heard_by = time.monotonic() + HEARD_S_MAX
            while not self.listener.heard and time.monotonic() < heard_by:
                await asyncio.sleep(DRAIN_LOOK_S)
        self._engine.stop()
        ends_at = time.monotonic() + settings.grace_s
        while (busy := self._busy()) and time.monotonic() < ends_at:
            await asyncio.sleep(DRAIN_LOOK_S)
        if busy:
            log.warning("the grace period is over; requests still in flight are aborted")
        self._receiving = False
        if self._bound:
            await self.listener.close()
        if self.http:
            await self.http.close()
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)
        await self._telling.close()
        self._workers.close()
        await _others_end()
        log.info("closed after %.2f s", time.monotonic() - began_at)

    async def abandon(self) -> None:
        """Let go of what is bound, by a server that cannot start."""
        await self._telling.close()
        if self._bound:
            await self.listener.close()
            if self.http:
                await self.http.close()

    def _busy(self) -> bool:
        return (
            not self._engine.idle
            or self._prediction.open > 0
            or (self._bound and self.listener.busy)
            or bool(self.http and self.http.busy)
        )


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    load: Load | None = None,
    *,
    asked_to_stop: asyncio.Event | None = None,
    waits: bool = False,
) -> AsyncIterator[App]:
    """A server that has loaded its models and serves inside the block, and drains at its end. Raises CannotStart.

    `asked_to_stop`: if it is set while models are loaded, the block begins at once. `waits`: see App.
    """
    app = App(settings, load, waits=waits)
    await app.start()
    if asked_to_stop is not None:
        signals.on_reload(app.reload)
    following = asyncio.create_task(app.load())
    stopping = asyncio.create_task((asked_to_stop or asyncio.Event()).wait())
    await asyncio.wait([following, stopping], return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        try:
            following.result()
        except CannotStart:
            await app.abandon()
            raise
        following = asyncio.create_task(app.watch())
    else:
        log.info("stopped before it was ready")
    try:
        yield app
    finally:
        if asked_to_stop is not None:
            exits.leave_after(settings.linger_s + HEARD_S_MAX + settings.grace_s + exits.MARGIN_S)
        stopping.cancel()
        following.cancel()
        await app.drain()


async def serve(settings: Settings, load: Load | None = None) -> None:
    """Serve until a signal, then drain. Raises CannotStart."""
    asked_to_stop = signals.asked_to_stop()
    async with running(settings, load, asked_to_stop=asked_to_stop):
        await asked_to_stop.wait()
    signals.ignore_all()


async def _others_end() -> None:
    """Let what grpcio began for each call come to its end. What the loop cancels at its own end prints a traceback."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=OTHERS_END_S_MAX)


def _set_apart_what_stays() -> None:
    """Let the garbage collector skip the modules and models that are here to stay: a full collection took 12 ms."""
    gc.collect()
    gc.freeze()


def _limits_of(settings: Settings) -> LoadLimits:
    """A version that is being written gets some polls to become whole. Without polls nobody would see it."""
    return LoadLimits(
        load_s_max=settings.load_timeout_s + LOAD_MARGIN_S,
        settle_s=SETTLE_POLLS * settings.poll_s,
        written_s_max=WRITTEN_POLLS * settings.poll_s,
    )


def _counted(status: Mapping[str, ModelStatus]) -> str:
    ready = sum(model.ready for model in status.values())
    failed = sum(v.state is State.FAILED for model in status.values() for v in model.versions.values())
    return cpu_demand.counted(ready, "model") + (
        f" ({cpu_demand.counted(failed, 'version')} refused)" if failed else ""
    )
