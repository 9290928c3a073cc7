"""Builds the HTTP server for the composition root, and binds its port."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.outcome_recording import OutcomeRecording
from skylane.server.auth.authenticator import Authenticator
from skylane.server.auth.tls import context_of
from skylane.server.core.batch_task import Answerer
from skylane.server.core.errors import CannotStart, MessageTooLarge
from skylane.server.core.hosts import internet
from skylane.server.core.settings import Settings
from skylane.server.host.addresses import all_shown, is_loopback
from skylane.server.host.ports import cannot_bind
from skylane.server.http.application import Application
from skylane.server.http.browsers import BrowserRules
from skylane.server.http.engine_calls import EngineCalls
from skylane.server.http.handler_context import Context, Live, Metrics
from skylane.server.http.listener import Application as AnyApplication
from skylane.server.http.listener import HttpListener
from skylane.server.http.request_bodies import Bodies
from skylane.server.observability.http_request_log import HttpRequestListener

if TYPE_CHECKING:
    from skylane.server.observability.tracing.tracer import Tracer


def bind(
    settings: Settings,
    engine: Answerer,
    clock: Callable[[], float],
    *,
    authenticator: Authenticator,
    directory: ModelControl,
    outcomes: OutcomeRecording,
    too_large: Callable[[int], MessageTooLarge],
    metrics: Metrics | None = None,
    live: Live | None = None,
    tracer: "Tracer | None" = None,
    http_requests: HttpRequestListener | None = None,
) -> HttpListener:
    """A listener on the settings' HTTP port that shares this engine. `clock`: the engine's. Raises CannotStart.

    `metrics` makes the page at /metrics; without it there is none; so `live` for the page at /. `tracer`: None
    if tracing is not configured. `http_requests` is notified of every request that ends.
    """
    assert settings.http_port is not None
    exchange = EngineCalls(engine, clock)
    context = Context(
        exchange=exchange,
        bodies=Bodies(settings.message_bytes_max, too_large),
        authenticator=authenticator,
        directory=directory,
        outcomes=outcomes,
        metrics=metrics,
        live=live,
        monitor_url=settings.monitor_url,
    )
    where = all_shown(internet(settings.host), settings.http_port)
    try:
        loopback = is_loopback(settings.host)
    except OSError as error:
        raise CannotStart(f"http-{cannot_bind(where, error)}") from error
    browsers = BrowserRules(settings.allowed_hosts, settings.allowed_origins, loopback=loopback)
    application: AnyApplication = Application(context, http_requests, browsers)
    if tracer is not None:
        from skylane.server.http.tracing_middleware import TracedApplication

        application = traced = TracedApplication(application, tracer)
        exchange.join_trace = traced.join
    tls = context_of(settings)
    try:
        return HttpListener(
            application,
            internet(settings.host),
            settings.http_port,
            share_port=settings.supervised,
            tls=tls,
            http_requests=http_requests,
        )
    except OSError as error:
        raise CannotStart(f"http-{cannot_bind(where, error)}") from error
