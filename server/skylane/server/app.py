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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc

from skylane.server.admin import cpu_demand
from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.outcome_recording import outcome_recording
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
from skylane.server.grpc.base.method_table import BatchedMethods
from skylane.server.grpc.base.traced_methods import traced
from skylane.server.grpc.grpcio.model_service import ModelService
from skylane.server.grpc.grpcio.permission import Permission
from skylane.server.grpc.grpcio.server import HotServices, make_server
from skylane.server.grpc.listener import CannotListen, Listener, listen
from skylane.server.grpc.registry import Service, batched_methods, services
from skylane.server.host.addresses import all_shown, shown
from skylane.server.host.daemons import check_repository, run_in_daemon, try_in_daemon
from skylane.server.host.reuseport_ebpf import share_in_turn
from skylane.server.observability.access_log import AccessLog
from skylane.server.observability.collector import Collector
from skylane.server.observability.metrics_service import MetricsService
from skylane.server.observability.snapshot import JournalSnapshot, PortSnapshot, SpanSnapshot
from skylane.server.observability.tracing.setting import tracing_of
from skylane.server.observability.tracing.tracer import FollowedEngine, Tracer
from skylane.server.observability.unrouted_requests import UnroutedRequests
from skylane.server.recording import journal_directory
from skylane.server.repository import loader
from skylane.server.repository.loading import LoadLimits
from skylane.server.repository.repository import Load, ModelStatus, Repository, State

if TYPE_CHECKING:
    from skylane.server.http.listener import HttpListener
    from skylane.server.recording.journal import Journal

log = logging.getLogger(__name__)

_STATUSES = {error.__name__: code.name for error, code in STATUS_OF.items()}
_CODES = {error.__name__: int(code.value[0]) for error, code in STATUS_OF.items()}

DRAIN_POLL_S = 0.01
"""How often a draining server checks whether the last reply is out."""
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


@dataclass(frozen=True)
class _Listeners:
    """The ports of one server, bound."""

    grpc: Listener
    http: "HttpListener | None"
    """None where HTTP is not configured."""

    def all(self) -> "tuple[Listener | HttpListener, ...]":
        """Those that there are."""
        return (self.grpc, self.http) if self.http else (self.grpc,)

    @property
    def busy(self) -> bool:
        """Whether an answer is still on its way."""
        return any(each.busy for each in self.all())

    async def close(self) -> None:
        """Close every connection at once."""
        for each in self.all():
            await each.close()


class App:
    """One server: everything built and wired, nothing started."""

    def __init__(self, settings: Settings, load: Load | None = None, *, waits: bool = False) -> None:
        """Bind the port, unless other workers answer on it. Needs a running event loop. Raises CannotStart.

        `load`: None for the server's own. `waits`: whether it is ready only when `go` is called, though its models are
        loaded.
        """
        self._settings, self._waits = settings, waits
        self._loop = asyncio.get_running_loop()
        self._workers = LoopWorkers(self._loop)
        self._tracing = tracing_of(settings, time.monotonic, _CODES)
        self._tracer = tracer = self._tracing.tracer if self._tracing else None
        self._trace_of = tracer.trace_of if tracer else None
        access = AccessLog(time.monotonic, _STATUSES) if settings.access_log else None
        self._journal = _journal_of(settings)
        self._unrecorded = set[str]()
        """Models that were to be recorded, and are not."""
        self._rejections = RejectionCounter()
        self._unrouted = UnroutedRequests(self._rejections, protocol_of, access)
        self._engine = Engine(self._workers, time.monotonic, self._rejections, observer=all_of(tracer, access))
        self._answerer = FollowedEngine(self._engine, tracer) if tracer else self._engine
        self._methods = self._batched_methods(tracer, access)
        self._authenticator = Authenticator(settings.tokens)
        self._routes = Routes()
        self._readiness = Readiness()
        self._collector = Collector(self._rejections.counted)
        load = load or partial(loader.load, time_limit_s=settings.load_timeout_s)
        self._repository = Repository(
            settings.models, self._collector.timed(load), self._serve, settings.shared, _limits_of(settings)
        )
        self._refreshing = asyncio.Lock()
        """One refresh at a time, whether it is time for one or somebody loads a model."""
        self._metrics = self._metrics_service()
        self._model_control = ModelControl(
            routes=self._current_routes,
            repository=self._repository,
            readiness=self._readiness,
            figures=self._metrics.figures,
            refresh=self.refresh,
            anyone_administrates=settings.allow_admin,
            shares_port=settings.supervised,
        )
        self._outcomes = outcome_recording(settings, self._model_control)
        is_native = settings.transport == "native"
        self._secret = secrets.token_hex(16) if is_native else ""
        self._permission = Permission(self._authenticator, None if is_native else self._unrouted.ended, self._secret)
        self._model_service = ModelService(self._readiness, self._permission)
        self._prediction = HotServices(self._methods, self._permission, time.monotonic, self._trace_of)
        self._services: tuple[Service, ...] = (
            self._prediction,
            self._model_service,
            *services(self._model_control, self._outcomes, self._permission),
        )
        self._server = self._grpcio_server()
        self._reloading: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._listeners: _Listeners | None = None
        """None until the ports are bound."""
        self._receiving = False
        if not settings.replaces:
            self._listeners = self._bind()

    @property
    def listener(self) -> Listener:
        """Where gRPC is received. Of a worker that replaces another, only when its models are loaded."""
        assert self._listeners is not None, "not bound"
        return self._listeners.grpc

    @property
    def http(self) -> "HttpListener | None":
        """Where HTTP is received; None where it is not configured, or not bound yet."""
        return self._listeners.http if self._listeners else None

    # --- Parts, made once --------------------------------------------------------------------------------------------

    def _batched_methods(self, tracer: Tracer | None, access: AccessLog | None) -> BatchedMethods:
        """The methods whose calls are answered in batches, and whoever observes their calls."""
        methods = batched_methods(self._answerer, time.monotonic, self._settings.message_bytes_max, self._rejections)
        for observer in (tracer, access):
            if observer:
                methods = traced(methods, observer.arrive)
        return methods

    def _metrics_service(self) -> MetricsService:
        return MetricsService(
            self._collector,
            self._model_status,
            _STATUSES,
            ports=self._ports,
            spans=self._spans,
            journals=self._journals,
            transport=self._settings.transport,
            directory=self._settings.shared,
            triton_names=self._settings.triton_metrics,
        )

    def _grpcio_server(self) -> grpc.aio.Server:
        """The server of grpcio with all services, not yet bound."""
        settings = self._settings
        server = make_server(
            settings.message_bytes_max,
            self._permission,
            share_port=settings.supervised,
            connection_age_s=0.0 if settings.transport == "native" else settings.max_connection_age_s,
        )
        for service in self._services:
            service.add_to(server)
        return server

    def _current_routes(self) -> Routes:
        return self._routes

    def _model_status(self) -> Mapping[str, ModelStatus]:
        return self._repository.status

    def _spans(self) -> SpanSnapshot:
        return self._tracing.spans if self._tracing else SpanSnapshot()

    def _journals(self) -> Iterator[JournalSnapshot]:
        """What became of the rows of each journalled model."""
        for model, counts in self._journal.counts().items() if self._journal else ():
            rows = {"kept": counts.kept, **counts.dropped}
            yield JournalSnapshot(model, rows, counts.bytes_written, counts.event_times_refused)

    def _bind(self) -> "_Listeners":
        """Bind, which lets the kernel queue connections from now on. Raises CannotStart."""
        http = self._bind_http() if self._settings.http_port is not None else None
        try:
            grpc_listener = listen(
                self._settings,
                self._server,
                self._methods,
                self._authenticator,
                self._secret,
                self._trace_of,
                self._unrouted.ended,
                {path: answer for service in self._services for path, answer in service.direct.items()},
                self._model_service.health,
            )
        except CannotListen as error:
            if http:
                http.release()
            raise CannotStart(str(error)) from error
        return _Listeners(grpc_listener, http)

    def _bind_http(self) -> "HttpListener":
        from skylane.server.http.server import bind  # only now: it costs memory that gRPC alone does not need

        return bind(
            self._settings,
            self._answerer,
            time.monotonic,
            authenticator=self._authenticator,
            directory=self._model_control,
            outcomes=self._outcomes,
            too_large=self._methods.unary[PREDICT].too_large,
            metrics=self._metrics.pages(),
            live=self._live,
            tracer=self._tracer,
            http_requests=self._unrouted,
        )

    def _ports(self) -> Iterator[PortSnapshot]:
        """Those whose connections are counted."""
        for each in self._listeners.all() if self._listeners else ():
            if (refused := each.refused_connections) is not None:
                yield PortSnapshot(refused.port, each.connections or 0, refused.refused)

    async def _live(self) -> bytes:
        return await self._metrics.snapshot(ready=self._readiness.whole)

    def _serve(self, routes: Routes) -> None:
        self._routes = routes
        if self._journal:
            self._journal.follow(routes)
        else:
            self._warn_of_journals(routes)
        self._engine.serve(routes)
        self._collector.follow(routes)
        if not self._repository.refreshed:  # later changes are announced when all of them are made
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there
                self._loop.call_soon_threadsafe(self._announce_soon)

    def _warn_of_journals(self, routes: Routes) -> None:
        """Whoever set `journal` expects that predictions are recorded."""
        for name, model in routes.models.items():
            journalled = any(served.monitor.journal for served in model.versions.values())
            if journalled and name not in self._unrecorded:
                self._unrecorded.add(name)
                log.warning("%s: [monitor] journal is set, but nothing is recorded: serve with --journal DIR", name)

    def _announce_soon(self) -> None:
        """Announce in a task, unless one is about to."""
        if self._announcing is None or self._announcing.done():
            self._announcing = self._loop.create_task(self._announce())

    async def start(self) -> None:
        """Receive requests, though no model is loaded yet, unless other workers answer them. Raises CannotStart."""
        await self._metrics.start()
        if self._journal:
            self._journal.start()
        self._serve(Routes(is_starting=True))
        if self._listeners:
            await self._receive(self._listeners)

    def _urls(self) -> list[str]:
        """Where HTTP is, if anywhere."""
        if self.http is None:
            return []
        return [f"{self.http.scheme}://{shown(host, self.http.port)}" for host in internet(self._settings.host)]

    async def _receive(self, listeners: "_Listeners") -> None:
        await self._announce()
        if self._settings.supervised:
            ports = [each.port for each in listeners.all()]
            shared = [share_in_turn(port, self._settings.workers) for port in ports]
            log.debug("connections are shared %s", "in turn" if all(shared) else "by the kernel's hash")
        for each in listeners.all():
            await each.start()
        self._receiving = True

    async def load(self) -> None:
        """Load what is in the repository. Raises CannotStart if the port cannot be bound then."""
        started_at = time.monotonic()
        await check_repository(self._settings.models)
        if self._receiving:
            self._log_listening()
        if not self._settings.supervised:  # else the supervisor has logged it for all
            await try_in_daemon(partial(cpu_demand.tell, self._settings), "budget")
        await self._load_models()
        _set_apart_what_stays()
        if self._listeners is None:
            self._listeners = self._bind()
            await self._receive(self._listeners)
        self._log_serving(time.monotonic() - started_at)

    async def _load_models(self) -> None:
        """Refresh until every load of the first scan has ended."""
        await self.refresh()
        stopped = threading.Event()
        try:
            while self._repository.is_loading and not self._repository.refreshed:
                await run_in_daemon(partial(self._wait_until_stale, stopped), "poll")
                await self.refresh()
        finally:
            stopped.set()

    def _log_listening(self) -> None:
        http = f", {', '.join(self._urls())} for HTTP" if self.http else ""
        where = all_shown(self._settings.host, self.listener.port)
        log.info("listening on %s for gRPC%s; ready when the models are loaded", where, http)

    def _log_serving(self, seconds: float) -> None:
        if not self._repository.status:
            root = self._settings.models
            log.warning("%s has no model: expected %s/<name>/<version>/manifest.json", root, root)
        log.info(
            "%s %s on %s (%s transport) after %.1f s",
            "worker with" if self._settings.supervised else "serving",
            _counted(self._repository.status),
            all_shown(self._settings.host, self.listener.port),
            self.listener.name,
            seconds,
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
        if self._listeners:
            polls += [each.poll_certificates for each in self._listeners.all()]
        for poll in polls:
            await run_in_daemon(poll, "reload")
        await self.refresh()

    async def watch(self) -> None:
        """Follow the repository until cancelled."""
        stopped = threading.Event()
        try:
            while self._settings.poll_s or self._repository.is_loading:
                await run_in_daemon(partial(self._wait_until_stale, stopped), "poll")
                await self.refresh()
        finally:
            stopped.set()

    def _wait_until_stale(self, stopped: threading.Event) -> None:
        """Poll the repository until it has changed. On a thread: a disk that hangs must not stop the loop, and a loop
        that is not woken costs nothing."""
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
        await self._model_service.tell(self._repository.status, self._routes)

    async def drain(self) -> None:
        """Answer what is in flight, for the grace period at most, and close."""
        settings, began_at = self._settings, time.monotonic()
        log.info("draining: not serving from now on; requests in flight have %.0f s to finish", settings.grace_s)
        if self._reloading is not None:
            self._reloading.cancel()
        self._readiness.drain()
        await self._model_service.drain()
        await asyncio.sleep(settings.linger_s)
        self._prediction.drain()
        if self._listeners:
            await _send_clients_away(self._listeners.grpc)
        self._engine.stop()
        await self._finish()
        self._receiving = False
        if self._listeners:
            await self._listeners.close()
        if self._journal:
            await asyncio.to_thread(self._journal.close)
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)
        await self._metrics.close()
        await asyncio.to_thread(self._outcomes.close)
        self._workers.close()
        await _others_end()
        log.info("closed after %.2f s", time.monotonic() - began_at)

    async def _finish(self) -> None:
        """Wait for what is in flight, for the grace period at most."""
        ends_at = time.monotonic() + self._settings.grace_s
        while (busy := self._busy()) and time.monotonic() < ends_at:
            await asyncio.sleep(DRAIN_POLL_S)
        if busy:
            log.warning("the grace period is over; requests still in flight are cut off")

    async def abandon(self) -> None:
        """Let go of what is bound, by a server that cannot start."""
        if self._journal:
            await asyncio.to_thread(self._journal.close)
        await self._metrics.close()
        await asyncio.to_thread(self._outcomes.close)
        if self._listeners:
            await self._listeners.close()

    def _busy(self) -> bool:
        return not self._engine.idle or self._prediction.open > 0 or bool(self._listeners and self._listeners.busy)


async def _send_clients_away(listener: Listener) -> None:
    """Ask clients to go elsewhere, and give them time to hear it."""
    listener.drain()
    heard_by = time.monotonic() + HEARD_S_MAX
    while not listener.heard and time.monotonic() < heard_by:
        await asyncio.sleep(DRAIN_POLL_S)


async def _others_end() -> None:
    """Let what grpcio began for each call come to its end. What the loop cancels at its own end prints a traceback."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=OTHERS_END_S_MAX)


def _journal_of(settings: Settings) -> "Journal | None":
    """Where predictions are recorded; None if nowhere. Raises CannotStart."""
    if settings.journal is None:
        return None
    journal_directory.check(settings.journal, settings.models)
    from skylane.server.recording.journal import Journal  # only now: pyarrow costs memory, and may be missing

    return Journal(settings.journal)


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
