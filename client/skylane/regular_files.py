"""Files of a repository that others write: opened without ever waiting, read up to a bound, and only inside of it.

Whatever lies there may be a named pipe, a device or a link to somewhere else. Opening a pipe waits for its other end,
so that nothing but a regular file is opened.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)  # fmt: skip


def open_regular(path: Path) -> int:
    """Descriptor of a regular file, for reading. Raises OSError, also for a file of any other kind."""
    _check_kind(os.stat(path))  # before it is opened: that alone has effects on some devices
    descriptor = os.open(path, _FLAGS)
    try:
        _check_kind(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, bytes_max: int) -> bytes:
    """Content of a regular file. Raises OSError; a file of more bytes is not read at all."""
    descriptor = open_regular(path)
    with open(descriptor, "rb", buffering=0) as file:  # closes it
        size = os.fstat(descriptor).st_size
        if size <= bytes_max:
            content = file.read(bytes_max + 1) or b""
            while len(content) <= bytes_max and (more := file.read(bytes_max + 1 - len(content))):
                content += more
            size = len(content)
        if size > bytes_max:
            raise OSError(errno.EFBIG, f"it has {size} bytes, expected {bytes_max} at most")
    return content


def is_inside(path: Path, root: Path) -> bool:
    """Whether the path, with all links followed, lies inside of the directory. What does not exist may be inside."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, expected a regular file")
