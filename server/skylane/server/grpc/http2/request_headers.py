"""What a request says before its message: which method, until when, how compressed. Decoded once for equal bytes.

A client says the same before each of its requests, and after the first few in the same bytes: HTTP/2 replaces fields by
numbers of a table that both sides keep. So a block of bytes that leaves the table as it was has one meaning until the
table changes, and a dict finds it in 0.05 µs. Where values differ each time, and are put into the table, the fields
are decoded, which takes 6 µs, and those that are the same find what they say, in 3 more; to read them all takes 20.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core import request_ids
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.grant import ANYONE, Grant
from skylane.server.core.types import NO_DEADLINE
from skylane.server.grpc.base.method_table import Metadata, TraceOf
from skylane.server.grpc.http2 import response_headers
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.frames import Code, ConnectionFault
from skylane.server.grpc.http2.header_forms import VARYING, HeaderTemplate, header_template_of
from skylane.server.grpc.http2.hpack_decoder import Field, HpackDecoder, HpackFault, TooManyFields

KNOWN_MAX: Final = 256
"""Blocks kept for one connection; a client that never repeats itself must not grow without end."""
KNOWN_BYTES_MAX: Final = 2**16
"""Of these blocks and what they say, for one connection: there may be thousands of those."""
FORMS_MAX: Final = 16
"""Forms of blocks that differ in a few values, tried in turn."""
_HEAD_BYTES: Final = 256
_FIELD_BYTES: Final = 160
"""That it takes to keep a head and one of its fields, beside their text."""

_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS_MAX: Final = 8

_GRPC: Final = "application/grpc"


class StreamFault(Exception):
    """One request broke the protocol; its stream is reset."""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """What came before the first message of a request."""

    path: str
    call_buffer: CallBuffer | None
    """Where its message goes, if the method is one of those that take many at once."""
    timeout_s: float
    encoding: str
    """Of messages that say they are compressed."""
    grant: Grant
    """What the caller may do, of methods that the front answers; the server behind asks for the others."""
    metadata: Metadata
    """What is the service's business, not the transport's."""
    refusal: bytes | None = None
    """The whole answer, if what was said is reason enough to refuse."""
    refused: StatusCode = StatusCode.OK
    """With which status, then."""
    trace: Any = None
    """To what trace the call belongs; None where nobody traces."""
    request_id: str = ""
    """As we tell it; nothing if the caller gave none."""


DECODED_TIMES: Final = 4
"""Metadata over the limit by so much is decoded still: the table then stays what the peer takes it for, and one
caller's request is refused instead of all that share its connection."""
ALIKE_MAX: Final = 64
"""HeaderCache kept for one connection that differ in more than a few values, whatever bytes say them."""
ALIKE_BYTES_MAX: Final = 2**16
"""Of these and what they say, before one more is added."""


class _Known:
    """What blocks of one form say."""

    __slots__ = ("form", "head")

    def __init__(self, form: HeaderTemplate, head: RequestHeaders) -> None:
        self.form, self.head = form, head

    def head_of(self, values: Sequence[bytes], trace_of: TraceOf | None) -> RequestHeaders:
        """What a block with these values says. Its trace is often that of the last one, if it is not recorded."""
        if trace_of is None and not self.form.has_id:
            return self.head
        varying = tuple(zip(self.form.names, map(bytes.decode, values), strict=True))
        trace = trace_of(varying) if trace_of else None
        if trace is not self.head.trace:
            self.head = replace(self.head, trace=trace)
        return replace(self.head, request_id=_request_id(varying)) if self.form.has_id else self.head


class HeaderCache:
    """The header fields that one connection receives."""

    def __init__(
        self,
        inbox_of: Callable[[str], CallBuffer | None],
        is_ours: Callable[[str], bool],
        grant_of: Callable[[str | None], Grant],
        header_bytes_max: int,
        trace_of: TraceOf | None = None,
    ) -> None:
        """`is_ours`: whether the front itself answers this path, and so asks for a token. `grant_of`: what the value of
        an authorization field allows; raises Unauthenticated. `trace_of`: None where nobody traces."""
        self.known: dict[bytes, RequestHeaders] = {}
        """Blocks whose meaning holds until the table changes."""
        self._inbox_of, self._is_ours, self._grant_of = inbox_of, is_ours, grant_of
        self._trace_of = trace_of
        self._bytes_max = header_bytes_max
        self._decoder = HpackDecoder(DECODED_TIMES * header_bytes_max)
        self._known_bytes = 0
        self._templates: list[_Known] = []
        """Forms whose meaning holds until the table changes."""
        self._alike: dict[tuple[Field, ...], tuple[RequestHeaders, int]] = {}
        """Fields of a request but for those that vary → what they say, whatever the table holds, and how many of them
        must come before any other."""
        self._alike_bytes = 0

    def decode(self, block: bytes) -> RequestHeaders:
        """The head in this block. Raises StreamFault, and ConnectionFault when the table is lost.

        The metadata of a hot method, which nobody reads, may lack fields whose values vary.
        """
        for known in self._templates:
            values = known.form.values(block)
            if values is not None and all(map(_is_text, values)):
                return known.head_of(values, self._trace_of)
        changes = self._decoder.changes
        said, size = self._fields(block)
        if self._decoder.changes != changes:
            self._forget_blocks()  # the numbers in those blocks mean something else now, whatever is wrong in this one
            return self._head_like(said, size)
        head = self._head_like(said, size)
        if head.refusal is not None:
            return head
        form = (
            header_template_of(block, sum(name in VARYING for name, _ in said))
            if head.call_buffer is not None
            else None
        )
        size = len(block) + len(head.path) + _HEAD_BYTES + (form.size + _HEAD_BYTES if form else 0)
        size += sum(len(name) + len(value) + _FIELD_BYTES for name, value in head.metadata)
        if (
            len(self.known) >= KNOWN_MAX
            or len(self._templates) >= FORMS_MAX
            or self._known_bytes + size > KNOWN_BYTES_MAX
        ):
            self.forget()
        if size <= KNOWN_BYTES_MAX:
            self.known[block] = head
            self._known_bytes += size
            if form is not None:
                self._templates.append(_Known(form, replace(head, metadata=(), trace=None, request_id="")))
        return head

    def _head_like(self, said: list[Field], size: int) -> RequestHeaders:
        """The head that these fields say, which may differ from one seen before in a few values.

        Clients that put a value into the table never send a block twice, if the value is another each time.
        """
        alike = tuple([field for field in said if field[0] not in _DIFFERING])
        varying = [field for field in said if field[0] in _DIFFERING]
        found = self._alike.get(alike)
        if found is not None and size <= self._bytes_max:
            head, places = found
            if not varying or said.index(varying[0]) >= places:
                return self._varied(head, varying)
        head = self._head(said, size)
        if head.call_buffer is not None and head.refusal is None:
            if len(self._alike) >= ALIKE_MAX or self._alike_bytes > ALIKE_BYTES_MAX:
                self.forget()
            metadata = tuple(field for field in head.metadata if field[0] not in _DIFFERING_NAMES)
            self._alike[alike] = replace(head, metadata=metadata), sum(name.startswith(b":") for name, _ in said)
            self._alike_bytes += 2 * size + _HEAD_BYTES + len(said) * _FIELD_BYTES
        return head

    def _varied(self, head: RequestHeaders, varying: list[Field]) -> RequestHeaders:
        """The same with these values. Raises StreamFault for one that is none."""
        timeout_s, metadata = NO_DEADLINE, []
        for name, value in varying:
            if name == _TIMEOUT:
                timeout_s = seconds(value.decode("latin-1"))
            elif _is_text(value):
                metadata.append((name.decode(), value.decode()))
            else:
                raise _no_text(name.decode())
        trace = self._trace_of(tuple(metadata)) if self._trace_of else None
        request_id = _request_id(metadata) if metadata else ""
        return RequestHeaders(
            head.path, head.call_buffer, timeout_s, head.encoding, head.grant, head.metadata, None, StatusCode.OK,
            trace,
            request_id,
        )  # fmt: skip

    def _forget_blocks(self) -> None:
        self.known.clear()
        self._templates.clear()
        self._known_bytes = 0

    def forget(self) -> None:
        """Decode every block anew, and look anew at what it says."""
        self._forget_blocks()
        self._alike.clear()
        self._alike_bytes = 0

    def skip(self, block: bytes) -> None:
        """Decode a block that nobody needs, such as a client's trailers: the table must stay the same on both sides."""
        self._fields(block)
        self.forget()

    def _fields(self, block: bytes) -> tuple[list[Field], int]:
        """Its fields, and the bytes that they count."""
        try:
            return self._decoder.decode(block)
        except TooManyFields as error:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, str(error)) from error
        except HpackFault as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"header block: {error}") from error

    def _head(self, said: list[Field], size: int) -> RequestHeaders:
        pseudo, own, rest = _sorted(said)
        method, path = pseudo.get(":method"), pseudo.get(":path")
        if method is None or path is None or ":scheme" not in pseudo:
            raise StreamFault("a request without :method, :path or :scheme")
        content_type = own.get("content-type", "")
        refusal, refused = None, StatusCode.UNKNOWN
        if size > self._bytes_max:
            refused = StatusCode.RESOURCE_EXHAUSTED
            text = f"the request's metadata has {size} bytes; this server takes at most {self._bytes_max}"
            refusal = response_headers.refusal(Status(refused, text))
        elif content_type != _GRPC and not content_type.startswith((f"{_GRPC}+", f"{_GRPC};")):  # nor grpc-web
            refusal = response_headers.not_grpc(
                415, f"content-type: expected application/grpc, received {content_type!r}"
            )
        elif method != "POST":
            refusal = response_headers.not_grpc(405, f"method: expected POST, received {method}")
        call_buffer, grant, trace = self._inbox_of(path), ANYONE, None
        if refusal is None and self._is_ours(path):
            trace = self._trace_of(rest) if self._trace_of else None
            try:
                grant = self._grant_of(_authorization(rest))
            except Unauthenticated as error:
                status = status_of(error)
                refusal, refused = response_headers.refusal(status), status.code
        return RequestHeaders(
            path=path,
            call_buffer=call_buffer,
            grant=grant,
            timeout_s=seconds(own.get("grpc-timeout")),
            encoding=own.get("grpc-encoding", "identity"),
            metadata=rest,
            refusal=refusal,
            refused=refused,
            trace=trace,
            request_id=_request_id(rest),
        )


_is_name: Final = re.compile(rb"[0-9a-z_.-]+").fullmatch
_is_text: Final = re.compile(rb"[ -~]*").fullmatch
"""What gRPC allows. grpcio never ends a call to which it was given anything else."""

_OURS: Final = frozenset(
    ("content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-message-type", "host")
)
"""Fields between client and transport; a service does not see them."""


_TIMEOUT: Final = b"grpc-timeout"
_DIFFERING: Final = VARYING | {_TIMEOUT}
_DIFFERING_NAMES: Final = frozenset(name.decode() for name in _DIFFERING)


def _sorted(said: Iterable[Field]) -> tuple[dict[str, str], dict[str, str], Metadata]:
    """Fields as HTTP/2's, gRPC's, and the service's."""
    pseudo: dict[str, str] = {}
    own: dict[str, str] = {}
    rest: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in said:
        name = raw_name.decode("latin-1")
        if name.startswith(":"):
            if own or rest or name in pseudo:
                raise StreamFault(f"{name} after other fields, or twice")
            pseudo[name] = raw_value.decode("latin-1")
        elif name in _OURS:
            own[name] = raw_value.decode("latin-1")
        elif not _is_name(raw_name):
            raise StreamFault(f"{name!r}: names have letters in lower case, digits, and . - _")
        elif name.endswith("-bin"):
            rest += [(name, _bytes(part)) for part in raw_value.split(b",")]
        elif _is_text(raw_value):
            rest.append((name, raw_value.decode("latin-1")))
        else:
            raise _no_text(name)
    return pseudo, own, tuple(rest)


def _no_text(name: str) -> StreamFault:
    return StreamFault(f"{name}: values are printable ASCII; others need a name that ends in -bin")


def _request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    return request_ids.told(next((str(value) for name, value in metadata if name == request_ids.FIELD), ""))


def _authorization(metadata: Metadata) -> str | None:
    return next((str(value) for name, value in metadata if name == "authorization"), None)


def _bytes(text: bytes) -> bytes:
    """What a field whose name ends in -bin carries."""
    try:
        return b64decode(text + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise StreamFault(f"metadata that is not base64: {error}") from error


def seconds(timeout: str | None) -> float:
    """A grpc-timeout field as seconds: at most eight digits and a unit. One that cannot be read is no deadline."""
    if not timeout or len(timeout) > _TIMEOUT_DIGITS_MAX + 1 or not timeout[:-1].isdecimal():
        return NO_DEADLINE
    unit = _UNIT_S.get(timeout[-1])
    return NO_DEADLINE if unit is None else int(timeout[:-1]) * unit
