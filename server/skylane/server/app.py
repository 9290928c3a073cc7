"""The composition root: builds the server, starts it and drains it. The only module that knows all others.

Start: bind the port, so that a port in use is reported at once; receive, with health not-serving; load every model;
then report serving. Models that are loaded answer meanwhile; calls to the others get an error that says so. A worker
that replaces another binds only after loading: until then the other workers answer. Workers that start together report
serving when all have loaded.

Stop, at a signal: report not-serving; with --linger, answer as before for that time; accept no new gRPC connection, ask
the clients to connect elsewhere, and answer until they have read it; refuse new requests; let those in flight finish,
for the grace period at most; close. Only the native transport can ask clients: over grpcio, requests that a client
sends at that moment may be refused.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
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
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.settings import Settings
from skylane.server.engine.engine import Engine
from skylane.server.engine.observer import all_of
from skylane.server.engine.routes import Routes
from skylane.server.engine.worker_pool import LoopWorkers
from skylane.server.grpc.base.method_protocols import protocol_of
from skylane.server.grpc.base.method_table import BatchedMethods
from skylane.server.grpc.base.traced_methods import traced
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor
from skylane.server.grpc.grpcio.model_service import ModelService
from skylane.server.grpc.grpcio.server import HotServices, make_server
from skylane.server.grpc.listener import CannotListen, Listener, listen
from skylane.server.grpc.registry import Service, batched_methods, services
from skylane.server.host.addresses import all_shown
from skylane.server.host.daemons import check_repository, run_in_daemon, try_in_daemon
from skylane.server.listeners import DRAIN_POLL_S, Listeners
from skylane.server.observability.access_log import AccessLog
from skylane.server.observability.collector import Collector
from skylane.server.observability.metrics_service import MetricsService
from skylane.server.observability.snapshot import JournalSnapshot, SpanSnapshot
from skylane.server.observability.tracing.setting import tracing_of
from skylane.server.observability.tracing.tracer import TracedEngine, Tracer
from skylane.server.observability.unrouted_requests import UnroutedRequests
from skylane.server.recording import journal_directory
from skylane.server.repository.background_loads import LoadLimits
from skylane.server.repository.follower import RepositoryFollower
from skylane.server.repository.repository import Load, ModelStatus, Repository, State
from skylane.server.repository.verified_loading import load_version

if TYPE_CHECKING:
    from skylane.server.http.listener import HttpListener
    from skylane.server.recording.journal import Journal

log = logging.getLogger(__name__)

_STATUSES = {error.__name__: code.name for error, code in STATUS_OF.items()}
_CODES = {error.__name__: int(code.value[0]) for error, code in STATUS_OF.items()}

LOAD_MARGIN_S = 5.0
"""How long after its time limit a load may still end by itself, with an error that says more than the limit."""
SETTLE_POLLS, WRITTEN_POLLS = 2, 10
"""Polls without a change after which a version that is being written is loaded again, and is refused."""
OTHERS_END_S_MAX = 1.0
"""How long tasks of libraries have to notice that the server has closed. They need a turn or two of the loop."""


class App:
    """One server: all parts built and connected, nothing started."""

    def __init__(self, settings: Settings, load: Load | None = None, *, waits: bool = False) -> None:
        """Bind the port, unless other workers answer on it. Needs a running event loop. Raises CannotStart.

        `load`: replaces `load_version`, for tests. `waits`: whether it becomes ready only when `go` is called, even if
        its models are loaded.
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
        self._answerer = TracedEngine(self._engine, tracer) if tracer else self._engine
        self._methods = self._batched_methods(tracer, access)
        self._authenticator = Authenticator(settings.tokens)
        self._routes = Routes()
        self._readiness = Readiness()
        self._collector = Collector(self._rejections.counted)
        load = load or partial(load_version, time_limit_s=settings.load_timeout_s)
        self._repository = Repository(
            settings.models, self._collector.timed(load), self._serve, settings.shared, _limits_of(settings)
        )
        self._follower = RepositoryFollower(self._repository, settings.poll_s, self._announce)
        self._metrics = self._metrics_service()
        self._model_control = ModelControl(
            routes=self._current_routes,
            repository=self._repository,
            readiness=self._readiness,
            figures=self._metrics.figures,
            refresh=self._follower.refresh,
            anyone_administrates=settings.allow_admin,
            shares_port=settings.supervised,
        )
        self._outcomes = outcome_recording(settings, self._model_control)
        is_native = settings.transport == "native"
        self._secret = secrets.token_hex(16) if is_native else ""
        self._auth = AuthInterceptor(self._authenticator, None if is_native else self._unrouted.ended, self._secret)
        self._model_service = ModelService(self._readiness, self._auth)
        self._prediction = HotServices(self._methods, self._auth, time.monotonic, self._trace_of)
        self._services: tuple[Service, ...] = (
            self._prediction,
            self._model_service,
            *services(self._model_control, self._outcomes, self._auth),
        )
        self._server = self._grpcio_server()
        self._reloading: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._listeners: Listeners | None = None
        """None until the ports are bound."""
        self._receiving = False
        if not settings.replaces:
            self._listeners = self._bind()

    @property
    def listener(self) -> Listener:
        """The gRPC listener. A worker that replaces another has it only when its models are loaded."""
        assert self._listeners is not None, "not bound"
        return self._listeners.grpc

    @property
    def http(self) -> "HttpListener | None":
        """The HTTP listener; None if HTTP is not configured, or not bound yet."""
        return self._listeners.http if self._listeners else None

    @property
    def _urls(self) -> list[str]:
        return self._listeners.urls(self._settings.host) if self._listeners else []

    # --- Parts, made once --------------------------------------------------------------------------------------------

    def _batched_methods(self, tracer: Tracer | None, access: AccessLog | None) -> BatchedMethods:
        """The methods whose calls are answered in batches, with the observers of their calls."""
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
            ports=lambda: self._listeners.snapshots() if self._listeners else (),
            spans=self._spans,
            journals=self._journals,
            receipts=lambda: self._outcomes.receipts.snapshots(),
            transport=self._settings.transport,
            directory=self._settings.shared,
            triton_names=self._settings.triton_metrics,
        )

    def _grpcio_server(self) -> grpc.aio.Server:
        """The server of grpcio with all services, not yet bound."""
        settings = self._settings
        server = make_server(
            settings.message_bytes_max,
            self._auth,
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

    def _bind(self) -> Listeners:
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
        return Listeners(grpc_listener, http)

    def _bind_http(self) -> "HttpListener":
        from skylane.server.http.server import (
            bind,  # only now: it takes memory that a server without HTTP does not need
        )

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
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._announce_soon)

    def _warn_of_journals(self, routes: Routes) -> None:
        """Whoever set `journal` expects that predictions are recorded."""
        for name, model in routes.models.items():
            journalled = any(served.monitor.journal for served in model.versions.values())
            if journalled and name not in self._unrecorded:
                self._unrecorded.add(name)
                log.warning("%s: [monitor] journal is set, but nothing is recorded: serve with --journal DIR", name)

    def _announce_soon(self) -> None:
        """Announce in a task, unless one is running."""
        if self._announcing is None or self._announcing.done():
            self._announcing = self._loop.create_task(self._announce())

    async def start(self) -> None:
        """Receive requests before any model is loaded, unless other workers answer them. Raises CannotStart."""
        await self._metrics.start()
        if self._journal:
            self._journal.start()
        self._serve(Routes(is_starting=True))
        if self._listeners:
            await self._receive(self._listeners)

    async def _receive(self, listeners: Listeners) -> None:
        await self._announce()
        if self._settings.supervised:
            listeners.share(self._settings.workers)
        await listeners.start()
        self._receiving = True

    async def load(self) -> None:
        """Load what is in the repository. Raises CannotStart if the port cannot be bound then."""
        started_at = time.monotonic()
        await check_repository(self._settings.models)
        if self._receiving:
            self._log_listening()
        if not self._settings.supervised:  # else the supervisor has logged it for all
            await try_in_daemon(partial(cpu_demand.log_demand, self._settings), "budget")
        await self._follower.load_all()
        _freeze_garbage_collector()
        if self._listeners is None:
            self._listeners = self._bind()
            await self._receive(self._listeners)
        self._log_serving(time.monotonic() - started_at)

    def _log_listening(self) -> None:
        http = f", {', '.join(self._urls)} for HTTP" if self.http else ""
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
        if urls := self._urls:
            log.info("HTTP on %s; live page: %s/, API: %s/docs", ", ".join(urls), urls[0], urls[0])

    async def go(self) -> None:
        """Become ready if the models are: every other worker is. See `waits`."""
        self._waits = False
        await self._announce()

    def if_alive(self, then: Callable[[], None]) -> None:
        """Call this soon on the thread that answers requests; never if it hangs. From the event loop."""
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
        await self._follower.refresh()

    async def watch(self) -> None:
        """Follow the repository until cancelled."""
        await self._follower.watch()

    async def refresh(self) -> None:
        """Make the served models equal to those on disk, now."""
        await self._follower.refresh()

    async def _announce(self) -> None:
        """Update every health service."""
        complete = self._repository.refreshed and not self._waits
        self._readiness.update(self._repository.status, complete=complete, progress=self._repository.progress)
        await self._model_service.update(self._repository.status, self._routes)

    async def drain(self) -> None:
        """Answer the requests in flight, for the grace period at most, and close."""
        settings, began_at = self._settings, time.monotonic()
        log.info("draining: not serving from now on; requests in flight have %.0f s to finish", settings.grace_s)
        if self._reloading is not None:
            self._reloading.cancel()
        self._readiness.drain()
        await self._model_service.drain()
        await asyncio.sleep(settings.linger_s)
        self._prediction.drain()
        if self._listeners:
            await self._listeners.send_clients_away()
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
        await _wait_for_library_tasks()
        log.info("closed after %.2f s", time.monotonic() - began_at)

    async def _finish(self) -> None:
        """Wait for the requests in flight, for the grace period at most."""
        ends_at = time.monotonic() + self._settings.grace_s
        while (busy := self._busy()) and time.monotonic() < ends_at:
            await asyncio.sleep(DRAIN_POLL_S)
        if busy:
            log.warning("the grace period is over; requests still in flight are cut off")

    async def abandon(self) -> None:
        """Release the ports of a server that cannot start."""
        if self._journal:
            await asyncio.to_thread(self._journal.close)
        await self._metrics.close()
        await asyncio.to_thread(self._outcomes.close)
        if self._listeners:
            await self._listeners.close()

    def _busy(self) -> bool:
        return not self._engine.idle or self._prediction.open > 0 or bool(self._listeners and self._listeners.busy)


async def _wait_for_library_tasks() -> None:
    """Let the tasks end that grpcio started for each call: the loop prints a traceback of those that it cancels."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=OTHERS_END_S_MAX)


def _journal_of(settings: Settings) -> "Journal | None":
    """Where predictions are recorded; None if nowhere. Raises CannotStart."""
    if settings.journal is None:
        return None
    journal_directory.check(settings.journal, settings.models)
    from skylane.server.recording.journal import Journal  # only now: pyarrow costs memory, and may be missing

    return Journal(settings.journal)


def _freeze_garbage_collector() -> None:
    """Exclude modules and models, which stay, from garbage collection: a full collection took 12 ms."""
    gc.collect()
    gc.freeze()


def _limits_of(settings: Settings) -> LoadLimits:
    """The limits of loads. A version that is being written has some polls to become complete."""
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
