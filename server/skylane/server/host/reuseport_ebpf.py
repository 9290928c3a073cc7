"""Distributes connections to workers in turn: 8 connections to 2 workers become 4 and 4; by hash they may be 6 and 2.

A program of eleven instructions counts connections and picks the next worker's socket, inside the kernel. Linux allows
it to processes with CAP_BPF; without it, and on other systems, the hash stays. Knows nothing of gRPC: it finds this
process's listening sockets among its open files. docs/adr/0007-workers.md has the numbers, and what else was tried.
"""

import ctypes
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SYSCALL: Final = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_ARRAY, _PROG_SOCKET_FILTER = 2, 1
_SO_ATTACH_REUSEPORT_EBPF = 52
_CAP_SYS_ADMIN, _CAP_BPF = 21, 39
_ATTRIBUTES_BYTES = 128
"""Of one bpf(2) call; what we do not set is 0."""


def share_in_turn(port: int, workers: int) -> bool:
    """Let the kernel hand the connections of this port to its workers in turn. Returns False if that is not permitted.

    Call it in each worker once it listens: all their sockets are one group, and the latest program holds for it. While
    fewer listen, as when one has ended, a turn of nobody's goes to a socket picked by hash.
    """
    try:
        program = _load(workers)
    except OSError:
        return False
    try:
        attached = [_attach(listening, program) for listening in _listening(port)]
    finally:
        os.close(program)  # the kernel keeps it as long as it is attached
    return bool(attached) and all(attached)


def possible() -> bool:
    """Whether `share_in_turn` would work here. Tries it, but for a port."""
    try:
        os.close(_load(1))
    except OSError:
        return False
    return True


def allowed() -> bool:
    """Whether this process has the right. Without it, it must not try: some sandboxes end processes that do."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return any(int(effective, 16) >> right & 1 for right in (_CAP_BPF, _CAP_SYS_ADMIN))


def _program(counter: int, workers: int) -> bytes:
    """`return counter++ % workers`, as a socket filter of the reuseport group; `counter` is the file of its map."""
    r0, r1, r2, frame = 0, 1, 2, 10
    return b"".join(
        struct.pack("<BBhi", code, source << 4 | target, offset, value)
        for code, target, source, offset, value in (
            (0x62, frame, 0, -4, 0),  # the key: element 0, on the stack
            (0xBF, r2, frame, 0, 0),
            (0x07, r2, 0, 0, -4),  # r2 = its address
            (0x18, r1, 1, 0, counter),  # r1 = the map, in two slots
            (0x00, 0, 0, 0, 0),
            (0x85, 0, 0, 0, 1),  # r0 = bpf_map_lookup_elem(r1, r2)
            (0x15, r0, 0, 4, 0),  # none, which cannot be: return 0
            (0xB7, r1, 0, 0, 1),
            (0xC3, r0, r1, 0, 0x01),  # r1 = atomic fetch-and-add, 32 bits
            (0xBC, r0, r1, 0, 0),
            (0x94, r0, 0, 0, workers),  # r0 %= workers
            (0x95, 0, 0, 0, 0),
        )
    )


def _load(workers: int) -> int:
    """A file of the loaded program. Raises OSError without the right, in a sandbox, or where programs cannot count."""
    if not allowed():
        raise PermissionError("needs CAP_BPF")
    counter = _bpf(_MAP_CREATE, struct.pack("<IIII", _MAP_ARRAY, 4, 4, 1))
    try:
        code = ctypes.create_string_buffer(_program(counter, workers))
        licence = ctypes.create_string_buffer(b"Apache-2.0")
        count = (len(code) - 1) // 8
        return _bpf(
            _PROG_LOAD,
            struct.pack("<IIQQ", _PROG_SOCKET_FILTER, count, ctypes.addressof(code), ctypes.addressof(licence)),
        )
    finally:
        os.close(counter)


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if sys.platform != "linux" or number is None:
        raise OSError("not on this system")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES_BYTES)
    file: int = libc.syscall(ctypes.c_long(number), ctypes.c_long(command), buffer, ctypes.c_ulong(_ATTRIBUTES_BYTES))
    if file < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return file


def _listening(port: int) -> Iterator[socket.socket]:
    """This process's own sockets that listen on the port, each closed again by the next step."""
    for name in os.listdir("/proc/self/fd"):
        sock = _socket_of(int(name))
        if sock is None:
            continue
        with sock:
            internet = sock.family in (socket.AF_INET, socket.AF_INET6)
            if internet and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.getsockname()[1] == port:
                yield sock


def _socket_of(file: int) -> socket.socket | None:
    """A socket beside this open file; None if it is none, or closed meanwhile."""
    try:
        copy = os.dup(file)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def _attach(listening: socket.socket, program: int) -> bool:
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_EBPF, program)
    except OSError:
        return False
    return True
