"""Header fields of responses: literals that change no state, so that they are encoded once. RFC 7541, section 6.2.2.

Received header blocks are decoded by hpack_decoder.py; see request_headers.py.
"""

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.core import request_ids

Metadata = Iterable[tuple[str, str | bytes]]

STATUS_200 = b"\x88"
"""`:status: 200`, from the static table."""
NO_TABLE = b"\x20"
"""Sets the size of the dynamic table to 0, for a peer that limits it. RFC 7541, section 4.2."""


def field(name: str, value: bytes) -> bytes:
    """One header field as a literal without indexing."""
    return b"\x00" + _string(name.encode()) + _string(value)


def closing(status: Status, metadata: Metadata = ()) -> bytes:
    """Trailers that end a call."""
    fields = [field("grpc-status", b"%d" % status.number)]
    if status.message:
        fields.append(field("grpc-message", quote(status.message, safe=_PRINTED).encode()))
    return b"".join([*fields, custom((*status.trailing, *metadata))])


def custom(metadata: Metadata) -> bytes:
    """Metadata of a service. A name that ends in -bin carries bytes, which travel in base64."""
    return b"".join(field(name, _text(name, value)) for name, value in metadata)


def request_id(value: str) -> bytes:
    """The field with the id of a request that failed."""
    return field(request_ids.FIELD, value.encode())


def prediction_id(text: bytes) -> bytes:
    """The name of an answer in the journal, where its message has no field for it."""
    return field(request_ids.PREDICTION_FIELD, text)


def not_grpc(http_status: int, text: str) -> bytes:
    """The headers of the response to a request that is HTTP/2 but not gRPC."""
    plain = field("content-type", b"text/plain; charset=utf-8")
    return field(":status", b"%d" % http_status) + plain + closing(Status(StatusCode.UNKNOWN, text))


def explanation(text: str) -> bytes:
    """The body of that response, for people."""
    return f"This port speaks gRPC. {text}\n".encode()


_PRINTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""Characters that are not percent-encoded in grpc-message."""


def _text(name: str, value: str | bytes) -> bytes:
    if name.endswith("-bin"):
        return b64encode(value if isinstance(value, bytes) else value.encode()).rstrip(b"=")
    return value if isinstance(value, bytes) else value.encode()


def _string(text: bytes) -> bytes:
    """A length with a prefix of seven bits, and the text, not in Huffman's code."""
    if (rest := len(text)) < 0x7F:
        return bytes((rest,)) + text
    length, rest = bytearray((0x7F,)), rest - 0x7F
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + text


@lru_cache(maxsize=256)
def refusal(status: Status) -> bytes:
    """The whole response to a call that gets no message. Many get the same."""
    return OPENING + closing(status)


OPENING = STATUS_200 + field("content-type", b"application/grpc")
"""The headers of every response."""
OK = field("grpc-status", b"0")
"""The trailers of a successful response."""
