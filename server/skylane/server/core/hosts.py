"""The configured hosts to listen on, as text: names, addresses and Unix domain sockets. Pure."""

from collections.abc import Sequence
from typing import Final

UNIX: Final = "unix:"
"""Prefix of a host that is the path of a Unix domain socket, as in the targets of gRPC clients."""


UNIX_PATH_BYTES_MAX: Final = 107
"""The longest path that Linux accepts; other systems accept a few bytes less."""


Hosts = str | Sequence[str]


def each_of(hosts: Hosts) -> list[str]:
    """The hosts as a list without duplicates."""
    return list(dict.fromkeys([hosts] if isinstance(hosts, str) else hosts))


def internet(hosts: Hosts) -> list[str]:
    """The hosts that are not Unix domain sockets."""
    return [host for host in each_of(hosts) if not host.startswith(UNIX)]


def unix_paths(hosts: Hosts) -> list[str]:
    """The paths of the Unix domain sockets among the hosts."""
    return [host.removeprefix(UNIX) for host in each_of(hosts) if host.startswith(UNIX)]
