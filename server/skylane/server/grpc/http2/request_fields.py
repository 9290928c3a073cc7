"""Header fields of a request, judged one by one: RFC 9113, section 8, and gRPC's use of it. Pure.

No value is split or decoded to judge it, so that a few bytes that name a large entry of the table again and again cost
no more than their number says. request_headers.py has checked the number and size of all fields before.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from skylane.server.grpc.http2.hpack_decoder import Field

Metadata = tuple[tuple[str, str | bytes], ...]

FIELDS_MAX: Final = 128
"""Of one request. gRPC itself needs ten."""
BINARY_VALUES_MAX: Final = 128
"""Values in fields whose name ends in -bin, which may list several, of one request."""

_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED: Final = (b":method", b":scheme", b":path")
_FORBIDDEN: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Fields of HTTP/1.1's connections: a proxy that believed them would part messages elsewhere. Section 8.2.2."""
_OURS: Final = frozenset(
    (
        b"content-type",
        b"content-length",
        b"te",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-message-type",
        b"host",
    )
)
"""Fields between client and transport; a service does not see them."""
_LENGTH_DIGITS_MAX: Final = 19

is_name: Final = re.compile(rb"[0-9a-z_.-]+").fullmatch
is_text: Final = re.compile(rb"[ -~]*").fullmatch
"""What gRPC allows in a value. grpcio never ends a call to which it was given anything else."""
_is_base64: Final = re.compile(rb"[A-Za-z0-9+/=,]*").fullmatch


class StreamFault(Exception):
    """One request broke the protocol; its stream is reset."""


@dataclass(slots=True)
class RequestFields:
    """Fields as HTTP/2's, gRPC's, and the service's."""

    pseudo: dict[bytes, bytes] = field(default_factory=dict)
    own: dict[bytes, bytes] = field(default_factory=dict)
    service: list[Field] = field(default_factory=list)
    """In order, as they came."""
    binary_values: int = 0
    """How many values its fields whose name ends in -bin list."""

    def text(self, name: bytes, missing: str = "") -> str:
        """One of HTTP/2's or gRPC's."""
        value = self.pseudo.get(name) if name[:1] == b":" else self.own.get(name)
        return missing if value is None else value.decode()

    def first(self, name: bytes) -> str | None:
        """The first of the service's with this name."""
        return next((value.decode() for each, value in self.service if each == name), None)

    @property
    def content_length(self) -> int | None:
        """Bytes of content that the client promises."""
        length = self.own.get(b"content-length")
        return None if length is None else int(length)


def sort(fields: Iterable[Field]) -> RequestFields:
    """The fields of a new request. Raises StreamFault."""
    result = RequestFields()
    pseudo, own, service = result.pseudo, result.own, result.service
    for name, value in fields:
        if name[:1] == b":":
            if own or service or name in pseudo:
                raise StreamFault(f"{name!r} after other fields, or twice")
            if name not in _PSEUDO:
                raise StreamFault(f"{name!r}: no request has such a field")
            pseudo[name] = _text(name, value)
        elif name in _OURS:
            _check_own(name, _text(name, value), own)
            own[name] = value
        else:
            _check_name(name)
            service.append((name, _text(name, value)))
            if name.endswith(b"-bin"):
                result.binary_values += value.count(b",") + 1
    if not all(name in pseudo for name in _NEEDED):
        raise StreamFault("a request without :method, :path or :scheme")
    if not pseudo[b":path"].startswith((b"/", b"*")):
        raise StreamFault(":path: expected a path that begins with /")
    return result


def check_trailers(fields: Iterable[Field]) -> None:
    """Raise StreamFault for what no client may send behind its messages."""
    for name, value in fields:
        _check_name(name)
        _text(name, value)


def service_metadata(fields: Sequence[Field]) -> Metadata:
    """A service's fields as grpcio takes them, those in base64 decoded. Raises StreamFault."""
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name.endswith(b"-bin"):
            metadata += [(name.decode(), _decoded(name, part)) for part in value.split(b",")]
        else:
            metadata.append((name.decode(), value.decode()))
    return tuple(metadata)


def text_metadata(fields: Sequence[Field]) -> Metadata:
    """Those of a service's fields that carry text."""
    return tuple([(name.decode(), value.decode()) for name, value in fields if not name.endswith(b"-bin")])


def not_text(name: bytes) -> StreamFault:
    """A value of this field has bytes that none may have."""
    return StreamFault(f"{name.decode('latin-1')}: values are printable ASCII; others need a name that ends in -bin")


def _check_name(name: bytes) -> None:
    if not is_name(name):
        raise StreamFault(f"{name!r}: names have letters in lower case, digits, and . - _")
    if name in _FORBIDDEN:
        raise StreamFault(f"{name.decode()}: a field of HTTP/1.1, which HTTP/2 forbids")


def _text(name: bytes, value: bytes) -> bytes:
    if not is_text(value):
        raise not_text(name)
    if name.endswith(b"-bin") and not _is_base64(value):
        raise StreamFault(f"{name!r}: expected base64")
    return value


def _check_own(name: bytes, value: bytes, own: dict[bytes, bytes]) -> None:
    if name == b"te" and value != b"trailers":
        raise StreamFault("te: expected trailers")
    if name == b"content-length" and (
        not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX or own.get(name, value) != value
    ):
        raise StreamFault("content-length: expected one number of bytes")


def _decoded(name: bytes, value: bytes) -> bytes:
    try:
        return b64decode(value + b"=" * (-len(value) % 4))
    except ValueError as error:
        raise StreamFault(f"{name!r}: expected base64: {error}") from error
