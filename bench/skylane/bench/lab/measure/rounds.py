"""The order of measurements within a round. Pure."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def turned(items: Iterable[T], by: int) -> list[T]:
    """Starting elsewhere each round: nothing always follows the same neighbour."""
    listed = list(items)
    by %= len(listed)
    return [*listed[by:], *listed[:by]]
