"""JSON text → Python values: what RFC 8259 allows, and the tokens NaN, Infinity and -Infinity.

`json.dumps` of Python writes these tokens, and so do clients of other model servers. msgspec, which is fast and strict,
reads first; only a text that it refuses and that has such a token is read again. Pure.
"""

import json
import re
from typing import Final, TypeVar

import msgspec

from skylane.server.core.errors import BadRequest

T = TypeVar("T")

_REFUSED: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_FOREIGN: Final = {
    b"\xef\xbb\xbf": "it begins with a byte order mark (BOM): send UTF-8 without one",
    b"\xff\xfe": "it looks like UTF-16: send UTF-8",
    b"\xfe\xff": "it looks like UTF-16: send UTF-8",
}


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]", what: str) -> T:
    """The values. `what`: for the error, as in `JSON`. Raises BadRequest."""
    try:
        return decoder.decode(body)
    except _REFUSED as error:
        if b"NaN" in body or b"Infinity" in body:
            return _with_tokens(body, decoder, what)
        why = next((words for mark, words in _FOREIGN.items() if body.startswith(mark)), str(error))
        raise BadRequest(f"the body is not {what}: {why}") from error


def _with_tokens(body: bytes, decoder: "msgspec.json.Decoder[T]", what: str) -> T:
    try:
        values = json.loads(body.decode())
        if _SURROGATE.search(body):
            msgspec.json.encode(values)  # raises for half a pair, which is no text
        converted: T = msgspec.convert(values, decoder.type)
        return converted
    except (*_REFUSED, ValueError) as error:
        raise BadRequest(f"the body is not {what}: {error}") from error
