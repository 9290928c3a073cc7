"""The command `skylane`: runs the subcommand that its arguments name, and reports errors with an exit code."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from skylane.cli.arguments import parser
from skylane.cli.commands import COMMANDS, Refused, Unusable
from skylane.client.errors import DeadlineExceeded, SkylaneError, Unauthenticated, Unavailable

OK: Final = 0
REFUSED: Final = 1
"""The server refused the request or cannot be reached."""
USAGE: Final = 2
"""The arguments or the data are invalid."""
INTERRUPTED: Final = 130

MODULES: Final = {
    "serve": "skylane.server.__main__",
    "doctor": "skylane.server.process.doctor",
    "token": "skylane.server.auth.cli",
    "convert": "skylane.convert.command",
    "import": "skylane.convert.importing.command",
    "profile": "skylane.convert.importing.profiling",
    "models copy": "skylane.convert.importing.copying",
    "models diff": "skylane.cli.diff",
    "score": "skylane.score.command",
    "features": "skylane.features.command",
    "top": "skylane.cli.top",
    "monitor report": "skylane.monitor.report_command",
    "monitor": "skylane.monitor.command",
    "performance": "skylane.monitor.performance_command",
    "drift": "skylane.monitor.drift_command",
    "outcomes": "skylane.monitor.outcomes.command",
    "journal": "skylane.monitor.journal_commands.command",
    "bench capacity": "skylane.bench.lab.capacity.__main__",
    "bench knee": "skylane.bench.lab.capacity.__main__",
    "bench tune": "skylane.bench.lab.tune.__main__",
    "bench baselines": "skylane.bench.lab.baselines.__main__",
    "bench": "skylane.bench.lab.__main__",
}
"""Command → module with its `main`; the second part of the module's name is the part of Skylane that it belongs to."""

EXTRAS: Final = {"cli": "server", "score": "batch"}
"""Part → the extra that installs its dependencies, if it has another name. For the modules in skylane.cli, the convert
extra works as well."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 success, 1 refused by the server, 2 usage error, 130 Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        for words in (2, 1):
            command = " ".join(argv[:words])
            if len(argv) >= words and command in MODULES:
                return _delegate(command, argv[words:])
        return _call_server(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe. Redirect stdout, or flushing it at exit would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _delegate(command: str, argv: Sequence[str]) -> int:
    """Run the `main` of the command's module, which is imported only when it is needed."""
    part = MODULES[command].split(".")[1]
    try:
        code: int = importlib.import_module(MODULES[command]).main(argv)
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] == "skylane" and name != f"skylane.{part}":
            raise  # one of our own modules is missing: a broken installation, or a bug
        extra = EXTRAS.get(part, part)
        print(f"skylane {command} needs the {extra} extra: pip install 'skylane[{extra}]'", file=sys.stderr)
        return USAGE
    return code


def _call_server(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)
    try:
        COMMANDS[options.command](options)
    except Refused:
        return REFUSED
    except SkylaneError as error:
        print(
            f"skylane: {_error_text(error, options.address, tls=bool(options.tls or options.tls_ca))}", file=sys.stderr
        )
        return REFUSED
    except Unusable as error:
        print(f"skylane {options.command}: {error}", file=sys.stderr)
        return USAGE
    sys.stdout.flush()
    return OK


def _error_text(error: SkylaneError, address: str, *, tls: bool) -> str:
    """The message for an error. gRPC's own text about connections names neither the address nor a remedy."""
    unreachable = ("failed to connect", "errors resolving", "dns resolution failed", "name resolution")
    if isinstance(error, Unavailable) and any(sign in error.detail.lower() for sign in unreachable):
        if tls and "handshake failed" in error.detail.lower():
            return (
                f"{error.code.name}: TLS failed: the server at {address} does not use TLS, or its certificate is not "
                "trusted; omit --tls, or pass the CA certificate with --tls-ca"
            )
        reason = error.detail.rpartition(": ")[2].strip().rstrip(".]")
        return (
            f"{error.code.name}: cannot connect to {address} ({reason}); start a server with `skylane serve`, "
            "or set another address with --address or SKYLANE_ADDRESS"
        )
    if isinstance(error, Unauthenticated):
        return f"{error}; pass a token with --token or SKYLANE_TOKEN"
    if isinstance(error, DeadlineExceeded):
        return f"{error}; set a longer time limit with --timeout"
    return str(error)
