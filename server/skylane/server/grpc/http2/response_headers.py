"""Header fields that we send: literals that change no state, so that they are bytes made once. RFC 7541, section 6.2.2.

Received header blocks are decoded by hpack_decoder.py; see request_headers.py.
"""

from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.core import request_ids

Metadata = Iterable[tuple[str, str | bytes]]

STATUS_200 = b"\x88"
"""`:status: 200`, from the static table."""
NO_TABLE = b"\x20"
"""We keep no table of fields: the answer to a peer who wants it small. RFC 7541, section 4.2."""


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


def request_id(told: str) -> bytes:
    """The id of a request, for whoever hears that it failed."""
    return field(request_ids.FIELD, told.encode())


def prediction_id(text: bytes) -> bytes:
    """The name of an answer in the journal, where its message has no field for it."""
    return field(request_ids.PREDICTION_FIELD, text)


def not_grpc(http_status: int, text: str) -> bytes:
    """What begins the answer to a request that is HTTP/2 but not gRPC."""
    plain = field("content-type", b"text/plain; charset=utf-8")
    return field(":status", b"%d" % http_status) + plain + closing(Status(StatusCode.UNKNOWN, text))


def explanation(text: str) -> bytes:
    """What follows it, for people."""
    return f"This port speaks gRPC. {text}\n".encode()


_PRINTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What a grpc-message shows as it is; the rest is percent-encoded."""


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


def refusal(status: Status) -> bytes:
    """The whole answer to a call that gets no message."""
    return OPENING + closing(status)


OPENING = STATUS_200 + field("content-type", b"application/grpc")
"""What comes before the first message of every reply."""
OK = field("grpc-status", b"0")
"""What comes after the last message of a call that went well."""
