"""How much memory the C library has given out in this process, so that it can be told what a session takes.

ONNX Runtime tells Python nothing of its memory, and the process's own size hides it: a second version often loads into
what the first has left, which makes the process no larger. The allocator knows what is in use.
"""

import ctypes
from collections.abc import Callable
from typing import Final


class _Mallinfo2(ctypes.Structure):
    """See mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _found() -> Callable[[], _Mallinfo2] | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # no glibc, or one before 2.33
        return None
    function.restype = _Mallinfo2
    return function


_mallinfo2: Final = _found()

UNKNOWN: Final = 0
"""Bytes of a session where the allocator does not tell."""


def allocated_bytes() -> int:
    """Given out by malloc and not given back, in all threads; UNKNOWN where there is no glibc. Takes some 10 µs."""
    if _mallinfo2 is None:
        return UNKNOWN
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)


def taken_since(before: int) -> int:
    """Bytes more than then; UNKNOWN if they are fewer, as where malloc is another library's and not asked here."""
    return max(allocated_bytes() - before, UNKNOWN)
