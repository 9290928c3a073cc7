"""Puts the HTTP server together for the composition root, and binds its port."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from server.block import Answerer
from server.directory import Directory
from server.errors import CannotStart, MessageTooLarge
from server.guard import Guard
from server.http.application import Application
from server.http.bodies import Bodies
from server.http.context import Context, Live, Metrics
from server.http.exchange import Exchange
from server.http.listener import Application as AnyApplication
from server.http.listener import HttpListener
from server.ports import cannot_bind
from server.settings import Settings
from server.tls import context_of
from server.visit import Visitors

if TYPE_CHECKING:
    from server.observe.tracing.tracer import Tracer


def bind(
    settings: Settings,
    engine: Answerer,
    clock: Callable[[], float],
    *,
    guard: Guard,
    directory: Directory,
    too_large: Callable[[int], MessageTooLarge],
    metrics: Metrics | None = None,
    live: Live | None = None,
    tracer: "Tracer | None" = None,
    visitors: Visitors | None = None,
) -> HttpListener:
    """A listener on the settings' HTTP port that shares this engine. `clock`: the engine's. Raises CannotStart.

    `metrics` makes the page at /metrics; without it there is none; so `live` for the page at /. `tracer`: None
    where nobody traces. `visitors` hears of every request that ends.
    """
    assert settings.http_port is not None
    exchange = Exchange(engine, clock)
    context = Context(
        exchange=exchange,
        bodies=Bodies(settings.message_bytes_max, too_large),
        guard=guard,
        directory=directory,
        metrics=metrics,
        live=live,
    )
    application: AnyApplication = Application(context, visitors)
    if tracer is not None:
        from server.http.traced import TracedApplication

        application = traced = TracedApplication(application, tracer)
        exchange.join_trace = traced.join
    tls = context_of(settings)
    try:
        return HttpListener(
            application,
            settings.host,
            settings.http_port,
            share_port=settings.supervised,
            tls=tls,
            visitors=visitors,
        )
    except OSError as error:
        raise CannotStart(f"http-{cannot_bind(f'{settings.host}:{settings.http_port}', error)}") from error
