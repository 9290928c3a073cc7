"""Types for argparse: numbers within limits."""

import argparse
import math


def positive(text: str) -> int:
    """1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def number(text: str) -> float:
    """More than 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
    if math.isinf(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value


def share(text: str) -> float:
    """A percentage below 100."""
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"expected 0 or more and less than 100 percent, got {text}")
    return value


# argparse names the type in its message: "invalid whole number value: 'x'".
positive.__name__, number.__name__, share.__name__ = "whole number", "number", "percentage"
