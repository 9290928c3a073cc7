"""What the command lines of the lab share: numbers that can be written on them, and errors as people read them."""

import argparse
from typing import Any

import grpc

from skylane.client import SkylaneError, Unavailable


def told(error: SkylaneError | grpc.RpcError, address: str | None) -> str:
    """Why a server could not be asked, and what to do. `address`: as it was given; None if the server was started."""
    if isinstance(error, Unavailable) and address is not None:
        return (
            f"nothing answers at {address}: start a server with `skylane serve`, or leave out --address, and one is "
            "started for the time of the measurement (one with TLS cannot be measured)"
        )
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
    return value


# argparse names the type in its message: "invalid whole number value: 'x'".
positive.__name__, number.__name__ = "whole number", "number"
