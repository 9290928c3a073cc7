"""What the command lines of the lab share: options, numbers that can be written, and errors as people read them."""

import argparse
import math
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc

from skylane.bench.access import OPEN, Access
from skylane.bench.generator import GeneratorFailed
from skylane.bench.lab.requests.questions import Unsuitable
from skylane.bench.load_client import TOKEN
from skylane.bench.payloads import WrongAnswer
from skylane.bench.servers import ServerFailed
from skylane.client import PermissionDenied, SkylaneError, Unauthenticated, Unavailable
from skylane.client.channel import check_target

OUT: Final = Path("bench-results")


def told(error: SkylaneError | grpc.RpcError, address: str | None) -> str:
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


def positive(text: str) -> int:
    """A type for argparse: 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def number(text: str) -> float:
    """A type for argparse: more than 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
    if math.isinf(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value


def share(text: str) -> float:
    """A type for argparse: a percentage below 100."""
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"expected 0 or more and less than 100 percent, got {text}")
    return value


def guarded(command: str, work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run it; what goes wrong is a line on stderr and the exit code."""
    try:
        return work(options)
    except Unsuitable as error:
        print(f"skylane bench {command}: {error}", file=sys.stderr)
        return 2
    except (SkylaneError, grpc.RpcError) as error:
        print(f"skylane bench {command}: {told(error, options.address)}", file=sys.stderr)
    except (GeneratorFailed, ServerFailed, WrongAnswer) as error:
        print(f"skylane bench {command}: {error}", file=sys.stderr)
    return 1


def make(out: Path) -> None:
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


def add_repository(add: Callable[..., object]) -> None:
    """Where models are."""
    add(
        "--models",
        type=Path,
        default=Path(os.environ.get("SKYLANE_MODELS", "models")),
        metavar="DIR",
        help="repository of the model; it is copied, and served from there (default: models, or SKYLANE_MODELS)",
    )


def add_asked(add: Callable[..., object]) -> None:
    """What is asked."""
    add("--rows", type=positive, default=1, metavar="N", help="rows in each request (default: 1)")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="CSV with the model's columns: its rows are sent in their order, and repeat as they do there (default: "
        "rows mixed from the examples in the manifest, all different)",
    )


def add_goal(add: Callable[..., object]) -> None:
    """What is to be kept."""
    add(
        "--target-p99-ms",
        type=number,
        required=True,
        metavar="MS",
        help="99 of 100 answers come within so many milliseconds of the instant at which the request was due",
    )
    add("--lost", type=share, default=0.1, metavar="PERCENT", help="may be refused or fail (default: 0.1)")


def add_out(add: Callable[..., object]) -> None:
    """Where it goes."""
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"for the result and the report (default: {OUT})")
    add("--format", choices=("table", "json"), default="table", help="what is printed (default: table)")


# argparse names the type in its message: "invalid whole number value: 'x'".
positive.__name__, number.__name__, share.__name__ = "whole number", "number", "percentage"
