"""Binds sockets to the addresses that `--host` and a port stand for.

One binder for the gRPC port, the HTTP port and the supervisor. `::` and the empty host stand for every address of both
families, `localhost` for 127.0.0.1 and ::1, `unix:/path` for a Unix domain socket; any other host for what the resolver
says. Each address has a socket of its own, all with one port.
"""

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from skylane.server.core.hosts import UNIX, Hosts, each_of, internet, unix_paths

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted."""
UNIX_MODE: Final = 0o660
"""Who may connect to a Unix domain socket at most: its owner and its group. The umask takes away from it: with
the usual 022 only the owner may."""
FREE_PORT_ATTEMPTS: Final = 16
"""How often another free port is tried when one is free on the first address and not on the next."""

_ALL: Final = ("", "::")
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


SocketAddress = tuple[str | int, ...]


class CannotBind(OSError):
    """An address cannot be bound; `where` is the address as an operator would write it."""

    def __init__(self, where: str, error: OSError) -> None:
        super().__init__(*error.args)
        self.where, self.error = where, error


@dataclass(frozen=True)
class Address:
    """One IP address, as the resolver gives it."""

    family: int
    host: str
    rest: tuple[int, ...] = ()
    """Flow and scope of IPv6."""

    def at(self, port: int) -> SocketAddress:
        """What `bind` takes."""
        return (self.host, port, *self.rest)


_EVERY: Final = (Address(socket.AF_INET, "0.0.0.0"), Address(socket.AF_INET6, "::", (0, 0)))
_LOCAL: Final = (Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET6, "::1", (0, 0)))


@dataclass(frozen=True)
class Bound:
    """Sockets that are bound, one for each address."""

    sockets: Sequence[socket.socket]
    port: int
    """Of all that have one; 0 where there are Unix domain sockets alone."""
    _files: Sequence[tuple[str, int]] = field(default=())
    """Paths of Unix domain sockets that are ours, and the inodes of their files."""

    def close(self) -> None:
        """Close the sockets, and remove their files. May be called again."""
        for each in self.sockets:
            each.close()
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files of Unix domain sockets, unless another server has put its own there meanwhile."""
        for path, inode in self._files:
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                continue


def shown(host: str, port: int) -> str:
    """One address as a client would write it: IPv6 in brackets."""
    if host.startswith(UNIX):
        return host
    bare = _bare(host) or "::"
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def all_shown(hosts: Hosts, port: int) -> str:
    """Every address, for the log."""
    return ", ".join(shown(host, port) for host in each_of(hosts))


def resolved(host: str) -> list[Address]:
    """The IP addresses of a host that this machine has. Raises CannotBind if there is none."""
    bare = _bare(host)
    if bare in _ALL or bare == "localhost":
        addresses = list(_LOCAL if bare == "localhost" else _EVERY)
    else:
        try:
            answers = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            reason = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
            raise CannotBind(host, reason) from error
        addresses = [Address(family, str(name), tuple(map(int, rest))) for family, *_, (name, _, *rest) in answers]
    addresses = list(dict.fromkeys(addresses))
    if len(addresses) > 1:
        addresses = [each for each in addresses if _is_here(each)]
    if not addresses:
        raise CannotBind(host, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)))
    return addresses


def is_loopback(hosts: Hosts) -> bool:
    """Whether a port bound to these hosts is reachable from this machine alone. Raises CannotBind."""
    return all(ipaddress.ip_address(each.host).is_loopback for host in internet(hosts) for each in resolved(host))


def bind(
    hosts: Hosts,
    port: int,
    *,
    share_port: bool = False,
    listens: bool = True,
    prepare: Callable[[socket.socket], None] = lambda _: None,
    inherited: Sequence[int] = (),
) -> Bound:
    """Bind every address of the hosts. Raises CannotBind.

    With `share_port` other processes of this user may bind the port as well. `prepare` sets options of a socket before
    it is bound. `inherited`: open files of the Unix domain sockets, in order, where another process has bound them.
    """
    sockets, files = list[socket.socket](), list[tuple[str, int]]()
    bound = Bound(sockets, 0, files)
    try:
        names = internet(hosts)
        port = _bind_internet(names, port, sockets, share_port, prepare) if names else 0
        if inherited:
            sockets += [socket.socket(fileno=number) for number in inherited]
        else:
            for path in unix_paths(hosts):
                sockets.append(_unix_socket(path))
                files.append((path, os.stat(path).st_ino))
        for each in sockets if listens else ():
            _listen(each)
    except BaseException:
        bound.close()
        raise
    return Bound(tuple(sockets), port, tuple(files))


def claim(path: str) -> None:
    """Make room for a Unix domain socket: remove one whose server has ended. Raises CannotBind if there is no room."""
    where = UNIX + path
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotBind(where, error) from error
    if not stat.S_ISSOCK(mode):
        raise CannotBind(where, OSError(errno.EEXIST, "there is a file of that name, which is no socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a server that listens and is busy has a full backlog: it is not gone
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise CannotBind(where, error) from error
    raise CannotBind(where, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))


def restrict(path: str) -> None:
    """Let nobody connect to a Unix domain socket but its owner and group, or whom the umask leaves of them."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & UNIX_MODE)


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _is_here(address: Address) -> bool:
    """Whether the machine has the address: ::1 of localhost is not there where IPv6 is off."""
    try:
        with socket.socket(address.family, socket.SOCK_STREAM) as probe:
            probe.bind(address.at(0))
    except OSError as error:
        return error.errno not in _NOT_HERE
    return True


def _bind_internet(
    hosts: Sequence[str],
    port: int,
    sockets: list[socket.socket],
    share_port: bool,
    prepare: Callable[[socket.socket], None],
) -> int:
    """Bind every IP address of the hosts with one port, which it gives."""
    addresses = list(_addresses(hosts))
    for attempt in range(FREE_PORT_ATTEMPTS):
        chosen = port
        try:
            for host, address in addresses:
                sockets.append(_socket(host, address, chosen, share_port, prepare))
                chosen = sockets[-1].getsockname()[1]
        except CannotBind as error:
            if port or error.errno != errno.EADDRINUSE or attempt + 1 == FREE_PORT_ATTEMPTS:
                raise
            while sockets:
                sockets.pop().close()
        else:
            break
    return chosen


def _addresses(hosts: Sequence[str]) -> Iterator[tuple[str, Address]]:
    """Every address once, with the host that stands for it."""
    seen = set[Address]()
    for host in hosts:
        for address in resolved(host):
            if address not in seen:
                seen.add(address)
                yield host, address


def _socket(
    host: str, address: Address, port: int, share_port: bool, prepare: Callable[[socket.socket], None]
) -> socket.socket:
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:
        raise CannotBind(shown(host, port), error) from error
    try:
        # Connections of a server before us that linger in TIME_WAIT do not count.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        prepare(sock)
        sock.bind(address.at(port))
    except OSError as error:
        sock.close()
        raise CannotBind(shown(host, port), error) from error
    return sock


def _unix_socket(path: str) -> socket.socket:
    claim(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        restrict(path)  # before it listens: until then nobody can connect
    except OSError as error:
        sock.close()
        raise CannotBind(UNIX + path, error) from error
    return sock


def _listen(bound: socket.socket) -> None:
    """From now on the kernel queues connections, and a second server that wants the address is refused."""
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        name = bound.getsockname()
        where = UNIX + name if isinstance(name, str) else shown(name[0], name[1])
        raise CannotBind(where, error) from error
