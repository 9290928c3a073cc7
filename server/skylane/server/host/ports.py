"""What to say of a port that is not to be had."""

import errno
import socket
from collections.abc import Mapping
from typing import Final

_WHY_NOT_BOUND: Final[Mapping[int | None, str]] = {
    errno.EADDRINUSE: "another server may be using it",
    errno.EADDRNOTAVAIL: "the address does not belong to this machine, see --host",
    errno.EACCES: "this user may not have it, as those below 1024",
    None: "another server may be using it, or the address does not belong to this machine: {}",
}
"""What each number of the system means for a port; None: nothing is known but the text."""


def cannot_bind(address: str, error: Exception) -> str:
    """What to say of a port that is not to be had; the same for one worker and for many.

    grpcio tells no number of what went wrong, so of its errors nothing more than their text is known.
    """
    if isinstance(error, socket.gaierror):
        why = f"the name stands for no address, see --host: {error.strerror}"
    else:
        number = error.errno if isinstance(error, OSError) else None
        why = _WHY_NOT_BOUND.get(number, "{}").format(error)
    return f"port: {address} cannot be bound: {why}"
