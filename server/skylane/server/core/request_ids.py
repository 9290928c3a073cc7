"""Names of single requests, by which a caller's log and ours tell of the same one. Pure.

Callers send them as `x-request-id`: metadata of gRPC, a header field of HTTP. A stranger's goes into our log and back
out, so it is bounded, and has no character that ends a line or a quotation.
"""

import itertools
import re
import secrets
from typing import Final

FIELD: Final = "x-request-id"
LENGTH_MAX: Final = 128
PREDICTION_FIELD: Final = "skylane-prediction-id"
"""Trailing metadata of gRPC or header field of HTTP with the id under which an answer is recorded."""

_good: Final = re.compile(rf"[!#-&(-\[\]-~]{{1,{LENGTH_MAX}}}").fullmatch
_others: Final = re.compile(r"[^!#-&(-\[\]-~]+")

_OURS: Final = secrets.token_hex(6)
"""Begins the ids of this process."""
_numbers: Final = itertools.count(1)


def told(sent: str) -> str:
    """An id as we tell it: the printable ASCII of what was sent, without spaces, quotes and backslashes, cut short."""
    return sent if not sent or _good(sent) else _others.sub("", sent[:LENGTH_MAX])


def of_tail(tail: bytes) -> str:
    """The id in the tail of a call's reply, or nothing. In every protocol over gRPC the tail is one string field of
    protobuf: a tag of one byte, the length, the text."""
    start = 1
    while start < len(tail) and tail[start] & 0x80:
        start += 1
    return tail[start + 1 :].decode(errors="replace")


def made() -> str:
    """An id for a request that came without one."""
    return f"{_OURS}-{next(_numbers):x}"
