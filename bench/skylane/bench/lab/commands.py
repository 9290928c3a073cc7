"""What the commands of the lab share: options, their values, errors as people read them, and saving a run."""

import argparse
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import RenderableType

from skylane.bench.arguments import number, positive, share
from skylane.bench.client.access import OPEN, TOKEN, Access
from skylane.bench.client.sending import GeneratorFailed
from skylane.bench.lab.output.live import console
from skylane.bench.lab.record import RunRecord, path_of, save
from skylane.bench.servers import ServerFailed
from skylane.bench.workload.golden import Unsuitable
from skylane.bench.workload.payloads import WrongAnswer
from skylane.client import PermissionDenied, SkylaneError, Unauthenticated, Unavailable
from skylane.client.channel import check_target

OUT: Final = Path("bench-results")


def error_text(error: SkylaneError | grpc.RpcError, address: str | None) -> str:
    """Why a server could not be asked, and what to do. `address`: as it was given; None if the server was started."""
    if isinstance(error, Unavailable) and address is not None and "HTTP/2" in error.detail:
        return f"what answers at {address} speaks no gRPC ({error.detail}): name the server's gRPC port"
    if isinstance(error, Unavailable) and address is not None:
        return (
            f"nothing answers at {address}: start a server with `skylane serve`, or leave out --address, and one is "
            "started for the time of the measurement; one with TLS needs --tls or --tls-ca FILE"
        )
    if isinstance(error, Unauthenticated | PermissionDenied) and address is not None:
        return f"{error}: give a token that allows predict with --token, or {TOKEN}"
    if isinstance(error, grpc.RpcError):
        call: Any = error  # gRPC raises calls, and its types do not say so
        return f"{call.code().name}: {call.details()}"
    return str(error)


def parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose epilog keeps its lines."""
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run_command(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int], argv: Sequence[str] | None
) -> int:
    """Parse and work; an error is a line on stderr and the exit code: 1 not measured, 2 wrong usage."""
    options = parser.parse_args(argv)
    try:
        return work(options)
    except Unsuitable as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except (SkylaneError, grpc.RpcError) as error:
        print(f"{parser.prog}: {error_text(error, options.address)}", file=sys.stderr)
    except (GeneratorFailed, ServerFailed, WrongAnswer) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
    return 1


def save_run(run: RunRecord, options: argparse.Namespace, name: str, suffix: str, beside: str | None) -> Path:
    """Write the result, and beside it a file with another suffix, if there is one; print the result for --format json.

    Raises Unsuitable.
    """
    path = path_of(run, options.out, name)
    try:
        save(run, path)
        if beside is not None:
            path.with_suffix(suffix).write_text(beside, "utf-8")
    except OSError as error:
        raise Unsuitable(f"--out {options.out}: {error.strerror or error}") from error
    if options.format == "json":
        print(path.read_text("utf-8"), end="")
    return path


def show(options: argparse.Namespace, shown: RenderableType, path: Path) -> None:
    """Print the result for people, and where its files are."""
    if options.format != "json":
        out = console()
        out.print(shown)
        out.print(f"\nresults: {path}\nreport:  {path.with_suffix('.html')}", highlight=False, soft_wrap=True)


def make_out(out: Path) -> None:
    """The folder for the result, before a minute is spent on it. Raises Unsuitable."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unsuitable(f"--out {out}: {error.strerror or error}") from error
    if not os.access(out, os.W_OK):
        raise Unsuitable(f"--out {out}: this user may not write there")


def add_access(add: Callable[..., object]) -> None:
    """How the server at --address is reached."""
    add("--tls", action="store_true", help="connect with TLS")
    add("--tls-ca", type=Path, metavar="FILE", help="trust the certificates in this PEM file; implies --tls")
    add(
        "--token",
        default=os.environ.get(TOKEN, ""),
        help=f"a bearer token; better by {TOKEN}, as others on this machine can read arguments",
    )


def access_of(options: argparse.Namespace) -> Access:
    """What they say. Raises Unsuitable for an address or certificates that cannot be used."""
    if options.address is None:
        if options.tls or options.tls_ca:
            raise Unsuitable("--tls and --tls-ca are for a server that runs: name it with --address")
        return OPEN
    try:
        check_target(options.address)
    except ValueError as error:
        raise Unsuitable(f"--address: {error}") from error
    access = Access(tls=options.tls or options.tls_ca is not None, ca=options.tls_ca, token=options.token)
    try:
        access.context()
    except ssl.SSLError as error:
        raise Unsuitable(f"--tls-ca {options.tls_ca}: expected certificates in PEM: {error.reason}") from error
    except OSError as error:
        raise Unsuitable(f"--tls-ca {options.tls_ca}: {error.strerror or error}") from error
    return access


def add_repository(add: Callable[..., object], role: str) -> None:
    """Where the models are."""
    add(
        "--models",
        type=Path,
        default=Path(os.environ.get("SKYLANE_MODELS", "models")),
        metavar="DIR",
        help=f"{role} (default: models, or SKYLANE_MODELS)",
    )


def add_requests(add: Callable[..., object]) -> None:
    """What is sent."""
    add("--rows", type=positive, default=1, metavar="N", help="rows in each request (default: 1)")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="CSV with the model's columns: its rows are sent in their order, and repeat as they do there (default: "
        "rows mixed from the examples in the manifest, all different)",
    )


def add_goal(add: Callable[..., object]) -> None:
    """The target that a rate must keep."""
    add(
        "--target-p99-ms",
        type=number,
        required=True,
        metavar="MS",
        help="99 of 100 answers come within so many milliseconds of the instant at which the request was due",
    )
    add("--lost", type=share, default=0.1, metavar="PERCENT", help="may be refused or fail (default: 0.1)")


def add_out(add: Callable[..., object]) -> None:
    """Where the result goes."""
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"for the result and the report (default: {OUT})")
    add("--format", choices=("table", "json"), default="table", help="what is printed (default: table)")
