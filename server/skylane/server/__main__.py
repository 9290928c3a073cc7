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
        logs.report_fatal(f"skylane serve: {error}", form)
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
    options = _Options(parser)
    for add in (_add_addresses, _add_security, _add_processes, _add_observability, _add_limits, _add_logging):
        add(options)
    return parser


class _Options:
    """Adds options whose defaults are those of `Settings` or of environment variables."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser, self._defaults = parser, Settings()

    def add(
        self,
        name: str,
        kind: Callable[[str], object],
        text: str,
        choices: Sequence[str] | None = None,
        action: type[argparse.Action] | str = "store",
    ) -> None:
        """An option with the default of `Settings`, or of its environment variable."""
        value = getattr(self._defaults, name)
        if (given := os.environ.get(variable := f"SKYLANE_{name.upper()}")) is not None:
            try:
                value = kind(given)
            except (ValueError, argparse.ArgumentTypeError):
                self.parser.error(f"{variable}: expected what --{name.replace('_', '-')} takes, received {given!r}")
        shown = "" if choices else name.rsplit("_", 1)[-1].upper()
        default = getattr(self._defaults, name)
        self.parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=value, metavar=shown or None, choices=choices,
            help=f"{text} (default: {'none' if default in (None, ()) else default})",
            action=action,
        )  # fmt: skip

    def switch(self, name: str, text: str) -> None:
        """An option without a value."""
        given = os.environ.get(variable := f"SKYLANE_{name.upper()}", "0")
        if given not in ("0", "1"):
            self.parser.error(f"{variable}: expected 0 or 1, received {given!r}")
        self.parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", default=given == "1", help=text)


def _add_addresses(options: _Options) -> None:
    options.add("models", Path, "directory of the model repository")
    options.add(
        "host",
        hosts,
        "address to listen on: :: for all, 0.0.0.0 for all of IPv4, unix:/path for a Unix domain socket (gRPC only); "
        "for several, repeat the option or separate them by commas",
        action=EachHost,
    )
    options.add("port", int, "port for gRPC; 0 selects a free one")
    options.add("http_port", int, "port for HTTP; 0 selects a free one")
    options.add(
        "allowed_hosts",
        _listed,
        "host names, with commas between, that HTTP requests may use besides localhost; *: any",
    )
    options.add(
        "allowed_origins",
        _listed,
        "origins, with commas between, of web pages that may call the HTTP port (CORS); *: any",
    )


def _add_security(options: _Options) -> None:
    options.add("tls_cert", Path, "certificate chain in PEM; reloaded when it changes")
    options.add("tls_key", Path, "private key of the certificate in PEM")
    options.add(
        "tls_client_ca", Path, "CA certificates in PEM; clients must present a certificate issued by one of them"
    )
    options.add("tokens", Path, "file of bearer tokens; `skylane token new` creates it")
    options.switch(
        "allow_admin", "without --tokens: allow everybody to load and unload models; with them, tokens decide"
    )


def _add_processes(options: _Options) -> None:
    options.add(
        "transport",
        str,
        "HTTP/2 implementation: native is our own and faster",
        get_args(Transport),
    )
    options.add("workers", number_of_workers, "processes that share the port; auto: one for each available CPU")
    options.parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    options.parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    options.parser.add_argument("--replaces", action="store_true", help=argparse.SUPPRESS)
    options.parser.add_argument("--inherited", type=numbers, default=(), help=argparse.SUPPRESS)


def _add_observability(options: _Options) -> None:
    options.add(
        "journal",
        Path,
        "directory in which outcomes are recorded, and predictions of models with `journal = true` under [monitor] in "
        "model.toml",
    )
    options.add(
        "monitor_url", str, "URL of the page of `skylane monitor` for browsers; the live page then has a tab for it"
    )
    options.switch("triton_metrics", "also export metrics under NVIDIA Triton's names, for existing dashboards")
    options.switch("access_log", "log one line for each request: protocol, model, status and duration")
    options.add(
        "traces", str, "export OpenTelemetry spans: otlp, configured by OTEL_* variables; or console", get_args(Traces)
    )
    options.add(
        "trace_sample", float, "share of requests to trace, 0 to 1; those with a traceparent follow its sampled flag"
    )


def _add_limits(options: _Options) -> None:
    options.add("max_message_mb", int, "largest request, in MiB")
    options.add("max_connections", int, "largest number of gRPC connections of one process (native)")
    options.add("max_streams", int, "largest number of requests in flight on one gRPC connection (native)")
    options.add("max_connection_age_s", float, "seconds after which clients are asked to reconnect; 0: never")
    options.add("poll_s", float, "seconds between two scans for new versions; 0: only at the start")
    options.add("load_timeout_s", float, "seconds after which a version that is still loading is refused")
    options.add("grace_s", float, "seconds that requests in flight may take after SIGTERM")
    options.add("linger_s", float, "seconds to keep serving after SIGTERM while health checks report not serving")


def _add_logging(options: _Options) -> None:
    options.parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default: info)"
    )
    options.parser.add_argument(
        "--log-format",
        default="console",
        choices=get_args(logs.Format),
        help="console: plain lines; json: one JSON object per line (default: console)",
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


if __name__ == "__main__":
    sys.exit(main())
