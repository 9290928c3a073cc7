"""What to say of an address that cannot be bound."""

import errno
import socket
from collections.abc import Mapping
from typing import Final

from skylane.server.core.hosts import UNIX
from skylane.server.host.addresses import CannotBind

_WHY_NOT_BOUND: Final[Mapping[int | None, str]] = {
    errno.EADDRINUSE: "another server may be using it",
    errno.EADDRNOTAVAIL: "the address does not belong to this machine, see --host",
    errno.EAFNOSUPPORT: "this machine has no addresses of that family, see --host",
    errno.EACCES: "this user may not have it, as those below 1024",
    None: "another server may be using it, or the address does not belong to this machine: {}",
}
"""What each number of the system means for a port; None: nothing is known but the text."""

_WHY_NO_FILE: Final[Mapping[int | None, str]] = {
    errno.EADDRINUSE: "another server is listening on it",
    errno.ENOENT: "its directory does not exist",
    errno.EACCES: "this user may not write to its directory",
    errno.EROFS: "its directory is read-only",
}
"""The same for the file of a Unix domain socket."""


def cannot_bind(address: str, error: Exception) -> str:
    """What to say of an address that cannot be bound; the same for one worker and for many.

    grpcio gives no error number, so of its errors nothing more than their text is known.
    """
    if isinstance(error, CannotBind):
        address, error = error.where, error.error
    is_file = address.startswith(UNIX)
    if isinstance(error, socket.gaierror):
        why = f"the name stands for no address, see --host: {error.strerror}"
    else:
        number = error.errno if isinstance(error, OSError) else None
        why = (_WHY_NO_FILE if is_file else _WHY_NOT_BOUND).get(number, "{}")
        why = why.format(error.strerror if is_file and isinstance(error, OSError) else error)
    return f"{'host' if is_file else 'port'}: {address} cannot be bound: {why}"
