"""Request ids: made by the caller or by this server, so that both sides' logs name the same request. Pure.

Callers send them as `x-request-id`: gRPC metadata, or an HTTP header field. An id from outside is written to the log
and sent back, so its length is limited, and characters that end a line or a quotation are removed.
"""

import itertools
import re
import secrets
from typing import Final

FIELD: Final = "x-request-id"
LENGTH_MAX: Final = 128
PREDICTION_FIELD: Final = "skylane-prediction-id"
"""Trailing metadata of gRPC or header field of HTTP with the id under which an answer is recorded."""

_valid: Final = re.compile(rf"[!#-&(-\[\]-~]{{1,{LENGTH_MAX}}}").fullmatch
_invalid_characters: Final = re.compile(r"[^!#-&(-\[\]-~]+")

_PREFIX: Final = secrets.token_hex(6)
"""Start of every id that this process makes."""
_counter: Final = itertools.count(1)


def sanitized(sent: str) -> str:
    """The printable ASCII of an id that was sent, without spaces, quotes and backslashes, cut to LENGTH_MAX."""
    return sent if not sent or _valid(sent) else _invalid_characters.sub("", sent[:LENGTH_MAX])


def of_tail(tail: bytes) -> str:
    """The id in the tail of a call's reply, or nothing. In every protocol over gRPC the tail is one string field of
    protobuf: a tag of one byte, the length, the text."""
    start = 1
    while start < len(tail) and tail[start] & 0x80:
        start += 1
    return tail[start + 1 :].decode(errors="replace")


def new_id() -> str:
    """An id for a request that came without one."""
    return f"{_PREFIX}-{next(_counter):x}"
