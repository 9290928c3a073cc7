"""`python -m server` and `skylane serve`: argv and environment → Settings → app; nothing else."""

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

A new version that appears under MODELS is verified, loaded and warmed up, then takes over; the old one finishes what
it has begun. How a model is batched and cached is written in MODELS/<name>/model.toml and may change while serving.

examples:
  skylane serve --models models
  skylane serve --models models --http-port 8501
  skylane serve --models /srv/models --host 0.0.0.0 --port 8500 --grace-s 60
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Returns the exit code."""
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
    """What this process is to be. Each imports only what it needs: a supervisor loads no model and no gRPC."""
    if settings.supervised:
        from skylane.server.worker import work

        return work(settings)
    if settings.workers > 1:
        from skylane.server.process.supervisor import supervise

        return supervise(settings, argv)
    from skylane.server.app import serve

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
        "address to listen on: :: for all, 0.0.0.0 for all of IPv4, unix:/path for a Unix domain socket (gRPC alone); "
        "for several give the option again, or separate them by commas",
        action=EachHost,
    )
    add("port", int, "port to listen on; 0 for a free one")
    add("http_port", int, "port for HTTP and JSON; 0 for a free one")
    add("allowed_hosts", _listed, "names, with commas, under which HTTP is asked besides localhost; *: any")
    add("allowed_origins", _listed, "origins, with commas, of pages elsewhere that may ask by HTTP (CORS); *: any")
    add("tls_cert", Path, "certificate chain in PEM; read again when it changes")
    add("tls_key", Path, "its private key in PEM")
    add("tls_client_ca", Path, "certificates in PEM of whom clients must have theirs by")
    add("tokens", Path, "file of bearer tokens; `skylane token new` makes it")
    switch("allow_admin", "let callers load and unload models where no tokens are set; with tokens, theirs say who may")
    add("transport", str, "who speaks HTTP/2: native is our own and fast; grpcio is everybody's", get_args(Transport))
    add("workers", number_of_workers, "processes that share the port; auto: one for each CPU that this process may use")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--replaces", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inherited", type=numbers, default=(), help=argparse.SUPPRESS)
    switch("triton_metrics", "tell /metrics under the names of NVIDIA Triton too, for dashboards that read those")
    switch("access_log", "log one line for each request: who asked what, how it ended, and how long it took")
    add("traces", str, "send spans of OpenTelemetry: otlp, as OTEL_* variables say; or console", get_args(Traces))
    add("trace_sample", float, "share of requests without a trace that begin one, 0 to 1; others do as their caller")
    add("max_message_mb", int, "largest request, in MiB")
    add("max_connections", int, "connections to the gRPC port of one process (native)")
    add("max_streams", int, "requests in flight on one gRPC connection (native)")
    add("max_connection_age_s", float, "seconds after which a client is asked to connect anew; 0: never")
    add("poll_s", float, "seconds between two looks for new versions; 0: only at the start")
    add("load_timeout_s", float, "seconds after which a version that is still being loaded is refused")
    add("grace_s", float, "seconds that requests in flight get after SIGTERM")
    add("linger_s", float, "seconds to go on answering after SIGTERM, already shown as not serving")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default: info)"
    )
    parser.add_argument(
        "--log-format",
        default="console",
        choices=get_args(logs.Format),
        help="lines for people, or one JSON object a line (default: console)",
    )
    return parser


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


if __name__ == "__main__":
    sys.exit(main())
