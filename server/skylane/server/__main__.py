"""`python -m skylane.server` and `skylane serve`: argv and environment → Settings → app; nothing else."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, get_args

from skylane.server.core.errors import CannotStart
from skylane.server.core.option_types import EachHost, hosts, numbers
from skylane.server.core.settings import Settings, Traces, Transport
from skylane.server.host import daemons, signals, standard_streams
from skylane.server.host.budget import number_of_workers
from skylane.server.observability import logs

EPILOG = """\
Every option can also come from the environment, as SKYLANE_MODELS, SKYLANE_PORT, SKYLANE_MAX_MESSAGE_MB, ….

A new version under MODELS is verified, loaded and warmed up, then takes over; requests in flight finish on the old
one. MODELS/<name>/model.toml configures batching and cache of a model and may change while the server runs.

examples:
  skylane serve --models models
  skylane serve --models models --http-port 8501
  skylane serve --models /srv/models --host 0.0.0.0 --port 8500 --grace-s 60
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped by a signal. Returns the exit code."""
    standard_streams.ensure_open()
    signals.ignore_others()
    parser = _parser()
    argv = list(sys.argv[1:] if argv is None else argv)
    options = vars(parser.parse_args(argv))
    form = options.pop("log_format")
    logs.set_up(options.pop("log_level"), form, supervised=options["supervised"])
    try:
        settings = Settings(**options)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_run(settings, argv))
    except CannotStart as error:
        logs.tell_why_it_ends(f"skylane serve: {error}", form)
        return daemons.leave(1)
    return daemons.leave(0)


def _run(settings: Settings, argv: Sequence[str]) -> Coroutine[Any, Any, None]:
    """Run as a worker, a supervisor or a single server. Each imports only what it needs: a supervisor needs no gRPC."""
    if settings.supervised:
        from skylane.server.worker import work

        return work(settings)
    if settings.workers > 1:
        from skylane.server.process.supervisor import supervise

        return supervise(settings, argv)
    from skylane.server.lifecycle import serve

    return serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane serve",
        description="Serve the models of a repository over gRPC, and over HTTP with --http-port.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Settings()

    def add(
        name: str,
        kind: Callable[[str], object],
        text: str,
        choices: Sequence[str] | None = None,
        action: type[argparse.Action] | str = "store",
    ) -> None:
        value = getattr(defaults, name)
        if (given := os.environ.get(variable := f"SKYLANE_{name.upper()}")) is not None:
            try:
                value = kind(given)
            except (ValueError, argparse.ArgumentTypeError):
                parser.error(f"{variable}: expected what --{name.replace('_', '-')} takes, received {given!r}")
        shown = "" if choices else name.rsplit("_", 1)[-1].upper()
        default = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=value, metavar=shown or None, choices=choices,
            help=f"{text} (default: {'none' if default in (None, ()) else default})",
            action=action,
        )  # fmt: skip

    def switch(name: str, text: str) -> None:
        given = os.environ.get(variable := f"SKYLANE_{name.upper()}", "0")
        if given not in ("0", "1"):
            parser.error(f"{variable}: expected 0 or 1, received {given!r}")
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", default=given == "1", help=text)

    add("models", Path, "directory of the model repository")
    add(
        "host",
        hosts,
        "address to listen on: :: for all, 0.0.0.0 for all of IPv4, unix:/path for a Unix domain socket (gRPC only); "
        "for several, repeat the option or separate them by commas",
        action=EachHost,
    )
    add("port", int, "port for gRPC; 0 selects a free one")
    add("http_port", int, "port for HTTP; 0 selects a free one")
    add(
        "allowed_hosts",
        _listed,
        "host names, with commas between, that HTTP requests may use besides localhost; *: any",
    )
    add(
        "allowed_origins",
        _listed,
        "origins, with commas between, of web pages that may call the HTTP port (CORS); *: any",
    )
    add("tls_cert", Path, "certificate chain in PEM; reloaded when it changes")
    add("tls_key", Path, "private key of the certificate in PEM")
    add("tls_client_ca", Path, "CA certificates in PEM; clients must present a certificate issued by one of them")
    add("tokens", Path, "file of bearer tokens; `skylane token new` creates it")
    switch("allow_admin", "without --tokens: allow everybody to load and unload models; with them, tokens decide")
    add(
        "transport",
        str,
        "HTTP/2 implementation: native is our own and faster",
        get_args(Transport),
    )
    add("workers", number_of_workers, "processes that share the port; auto: one for each available CPU")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--replaces", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inherited", type=numbers, default=(), help=argparse.SUPPRESS)
    switch("triton_metrics", "also export metrics under NVIDIA Triton's names, for existing dashboards")
    switch("access_log", "log one line for each request: protocol, model, status and duration")
    add("traces", str, "export OpenTelemetry spans: otlp, configured by OTEL_* variables; or console", get_args(Traces))
    add("trace_sample", float, "share of requests to trace, 0 to 1; those with a traceparent follow its sampled flag")
    add("max_message_mb", int, "largest request, in MiB")
    add("max_connections", int, "largest number of gRPC connections of one process (native)")
    add("max_streams", int, "largest number of requests in flight on one gRPC connection (native)")
    add("max_connection_age_s", float, "seconds after which clients are asked to reconnect; 0: never")
    add("poll_s", float, "seconds between two scans for new versions; 0: only at the start")
    add("load_timeout_s", float, "seconds after which a version that is still loading is refused")
    add("grace_s", float, "seconds that requests in flight may take after SIGTERM")
    add("linger_s", float, "seconds to keep serving after SIGTERM while health checks report not serving")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default: info)"
    )
    parser.add_argument(
        "--log-format",
        default="console",
        choices=get_args(logs.Format),
        help="console: plain lines; json: one JSON object per line (default: console)",
    )
    return parser


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


if __name__ == "__main__":
    sys.exit(main())
