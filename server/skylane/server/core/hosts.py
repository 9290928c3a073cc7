"""The hosts that a server is told to listen on, as text: names, addresses and Unix domain sockets. Pure."""

from collections.abc import Sequence
from typing import Final

UNIX: Final = "unix:"
"""How a host begins that is the path of a Unix domain socket; gRPC clients write their targets the same way."""


UNIX_PATH_BYTES_MAX: Final = 107
"""What the kernel has room for, on Linux; others have a few bytes less."""


Hosts = str | Sequence[str]


def each_of(hosts: Hosts) -> list[str]:
    """The hosts one by one, each once."""
    return list(dict.fromkeys([hosts] if isinstance(hosts, str) else hosts))


def internet(hosts: Hosts) -> list[str]:
    """Those that are no Unix domain socket."""
    return [host for host in each_of(hosts) if not host.startswith(UNIX)]


def unix_paths(hosts: Hosts) -> list[str]:
    """The paths of those that are Unix domain sockets."""
    return [host.removeprefix(UNIX) for host in each_of(hosts) if host.startswith(UNIX)]
