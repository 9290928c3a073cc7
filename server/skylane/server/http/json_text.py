"""JSON text → Python values: what RFC 8259 allows, and the tokens NaN, Infinity and -Infinity. Pure.

`json.dumps` of Python writes these tokens, and so do clients of other model servers. msgspec, which is fast and strict,
reads first; only a text that it refuses and that has such a token is read again.

No other thread runs while a text is decoded. So large ones are decoded row by row, and without the garbage collector,
which looks through all that was built so far again and again.
"""

import contextlib
import gc
import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from skylane.server.core.errors import BadRequest
from skylane.server.http.json_errors import reworded

T = TypeVar("T")

LARGE_BYTES: Final = 64 * 2**10
TOKENS_VALUES_MAX: Final = 2**18
"""Values of a text with such a token: it is decoded in one piece, at half the speed."""
NESTED_MAX: Final = 2
"""Levels of lists and objects of a large text that are decoded element by element."""

_REFUSED: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NESTED: Final = re.compile(rb"\s*(?:(\{)|\[\s*[\[{])").match
"""An object, or a list that begins with a list or an object."""

_FOREIGN: Final = {
    b"\xef\xbb\xbf": "it begins with a byte order mark (BOM): send UTF-8 without one",
    b"\xff\xfe": "it looks like UTF-16: send UTF-8",
    b"\xfe\xff": "it looks like UTF-16: send UTF-8",
}

_any: Final = msgspec.json.Decoder[Any]()
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]", what: str) -> T:
    """The values. `what`: for the error, as in `JSON`. Raises BadRequest."""
    try:
        if len(body) <= LARGE_BYTES:
            return decoder.decode(body)
        with _without_collector():
            return decoder.decode(body)
    except _REFUSED as error:
        return _decode_again(body, decoder, what, error)


def decode_any(body: bytes) -> Any:
    """The values of any JSON. Raises BadRequest."""
    try:
        if len(body) <= LARGE_BYTES:
            return _any.decode(body)
        with _without_collector():
            return _decoded_in_parts(body)
    except _REFUSED as error:
        return _decode_again(body, _any, "JSON", error)


def _decoded_in_parts(text: bytes | msgspec.Raw, level: int = 0) -> Any:
    nested = _NESTED(memoryview(text))
    if level < NESTED_MAX and nested and nested[1]:
        return {name: _decoded_in_parts(value, level + 1) for name, value in _members.decode(text).items()}
    if level < NESTED_MAX and nested:
        return [_any.decode(element) for element in _elements.decode(text)]
    return _any.decode(text)


def _decode_again(body: bytes, decoder: "msgspec.json.Decoder[T]", what: str, error: Exception) -> T:
    """What was refused, if tokens of Python's are why. Raises BadRequest."""
    if b"NaN" in body or b"Infinity" in body:
        return _decoded_with_tokens(body, decoder, what)
    why = next((words for mark, words in _FOREIGN.items() if body.startswith(mark)), reworded(str(error)))
    if len(body) > LARGE_BYTES:
        why = re.sub(r" \(byte \d+\)", "", why)  # it counts from the beginning of a part
    raise BadRequest(f"the body is not {what}: {why}") from error


def _decoded_with_tokens(body: bytes, decoder: "msgspec.json.Decoder[T]", what: str) -> T:
    if body.count(b",") > TOKENS_VALUES_MAX:
        raise BadRequest(
            f"the body is not {what}: NaN and Infinity are accepted among {TOKENS_VALUES_MAX} values at most: write "
            "null for NaN, or send fewer rows at once"
        )
    try:
        with _without_collector():
            values = json.loads(body.decode())
        if _SURROGATE.search(body):
            msgspec.json.encode(values)  # raises for half a pair, which is no text
        converted: T = msgspec.convert(values, decoder.type)
        return converted
    except (*_REFUSED, ValueError) as error:
        raise BadRequest(f"the body is not {what}: {reworded(str(error))}") from error


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
