"""The headers of a request: its method, timeout, compression and so on. Equal header blocks are decoded only once.

A client sends the same headers with each request and, after the first few, in the same bytes: HTTP/2 replaces fields by
indices into a table that both sides keep. So a block that does not change the table keeps its meaning until the table
changes, and a dict finds it in 0.05 µs. If values differ each time and are put into the table, the fields are decoded,
which takes 6 µs, and the headers for the equal fields are found in 3 more; parsing them all takes 20.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core import request_ids
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.types import NO_DEADLINE
from skylane.server.grpc.base.method_table import TraceOf
from skylane.server.grpc.http2 import response_headers
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.frames import Code, ConnectionFault
from skylane.server.grpc.http2.header_forms import VARYING, HeaderTemplate, header_template_of
from skylane.server.grpc.http2.hpack_decoder import Field, HpackDecoder, HpackFault, TooManyFields
from skylane.server.grpc.http2.request_fields import (
    BINARY_VALUES_MAX,
    FIELDS_MAX,
    Metadata,
    RequestFields,
    StreamFault,
    check_trailers,
    is_text,
    not_text,
    service_metadata,
    sort,
    text_metadata,
)

KNOWN_MAX: Final = 256
"""Blocks cached for one connection, because a client may never repeat one."""
KNOWN_BYTES_MAX: Final = 2**16
"""Memory of these blocks and their headers for one connection, of which there may be thousands."""
FORMS_MAX: Final = 16
"""Templates of blocks that differ in a few values; they are tried in turn."""
_HEAD_BYTES: Final = 256
_FIELD_BYTES: Final = 160
"""Memory for a request's headers and for each field, in addition to their text."""

_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS_MAX: Final = 8
TIMEOUT_S_MAX: Final = 366 * 24 * 3600.0
"""Longer timeouts count as none: grpcio's clock overflows before the largest value of the wire format."""
_QUOTED_LENGTH_MAX: Final = 100
"""Length of a value in an error message."""
_PATH_LENGTH_MAX: Final = 256
"""Length of the path, for the log, of a request whose other fields are not parsed."""

_GRPC: Final = "application/grpc"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The parsed headers of a request."""

    path: str
    call_buffer: CallBuffer | None
    """Where its message goes, if the method is batched."""
    timeout_s: float
    encoding: str
    """Encoding of messages that are flagged as compressed."""
    grant: Grant
    """The caller's permissions."""
    metadata: Metadata
    """Metadata for the service, not for the transport. For a batched method, which reads none, only text."""
    refusal: bytes | None = None
    """The whole answer, if the request is refused because of its headers."""
    refused: StatusCode = StatusCode.OK
    """The status of that refusal."""
    explanation: bytes = b""
    """Text that follows the refusal of a request that is not gRPC, once it has ended."""
    trace: Any = None
    """The trace that the call belongs to; None if tracing is off."""
    request_id: str = ""
    """The sanitized id; empty if the caller sent none."""
    authorization: str | None = None
    """The caller's authorization header, because a token may be revoked while a stream is open."""
    content_length: int | None = None
    """The announced size of the content; None for most requests."""

    def may_have(self, size: int) -> bool:
        """Whether so many bytes of content agree with the announced size."""
        return self.content_length is None or self.content_length == size


DECODED_TIMES: Final = 4
"""Factor by which metadata may exceed the limit and still be decoded. Decoding keeps the table in step with the peer's,
so that only this request is refused, not all requests of the connection."""
ALIKE_MAX: Final = 64
"""Headers cached for one connection by their fields instead of by the bytes of the block."""
ALIKE_BYTES_MAX: Final = 2**16
"""Memory of these, before one more is added."""


class _Known:
    """The headers for blocks of one form."""

    __slots__ = ("form", "head")

    def __init__(self, form: HeaderTemplate, head: RequestHeaders) -> None:
        self.form, self.head = form, head

    def head_of(self, values: Sequence[bytes], trace_of: TraceOf | None) -> RequestHeaders:
        """The headers for a block with these values. Its trace is often that of the last one, if it is not recorded."""
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
        is_open: Callable[[str], bool] = frozenset[str]().__contains__,
    ) -> None:
        """`is_ours`: whether the native transport itself answers this path. `grant_of`: what the value of an
        authorization field allows; raises Unauthenticated. `trace_of`: None if tracing is off. `is_open`: whether
        this path needs no token; without it, every path needs one."""
        self.known: dict[bytes, RequestHeaders] = {}
        """Blocks → headers, valid until the table changes."""
        self._inbox_of, self._is_ours, self._grant_of = inbox_of, is_ours, grant_of
        self._trace_of, self._is_open = trace_of, is_open
        self._bytes_max = header_bytes_max
        self._decoder = HpackDecoder(DECODED_TIMES * header_bytes_max)
        self._known_bytes = 0
        self._templates: list[_Known] = []
        """Templates of blocks, valid until the table changes."""
        self._alike: dict[tuple[Field, ...], tuple[RequestHeaders, int]] = {}
        """Fields of a request, except varying ones → the headers, whatever the table holds, and how many of the fields
        must come before any other."""
        self._alike_bytes = 0

    def decode(self, block: bytes) -> RequestHeaders:
        """The headers in this block. Raises StreamFault, and ConnectionFault if the table is out of step.

        The metadata of a batched method, which are not read, may lack fields whose values vary.
        """
        for template in self._templates:
            values = template.form.values(block)
            if values is not None and all(map(is_text, values)):
                return template.head_of(values, self._trace_of)
        changes = self._decoder.changes
        fields, size = self._fields(block)
        if self._decoder.changes != changes:
            self._forget_blocks()  # their indices have a new meaning, even if this block is invalid
            return self._head_like(fields, size)
        head = self._head_like(fields, size)
        if head.refusal is not None:
            return head
        form = (
            header_template_of(block, sum(name in VARYING for name, _ in fields))
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

    def _head_like(self, fields: list[Field], size: int) -> RequestHeaders:
        """The headers of these fields, which may differ from cached ones in a few values.

        Clients that put a value into the table never send a block twice if the value changes each time.
        """
        if size > self._bytes_max or len(fields) > FIELDS_MAX:
            return self._oversized(fields, size)
        alike = tuple([field for field in fields if field[0] not in _DIFFERING])
        varying = [field for field in fields if field[0] in _DIFFERING]
        cached = self._alike.get(alike)
        if cached is not None:
            head, places = cached
            if not varying or fields.index(varying[0]) >= places:
                return self._varied(head, varying)
        head = self._head(sort(fields))
        if head.call_buffer is not None and head.refusal is None:
            if len(self._alike) >= ALIKE_MAX or self._alike_bytes > ALIKE_BYTES_MAX:
                self.forget()
            metadata = tuple(field for field in head.metadata if field[0] not in _DIFFERING_NAMES)
            self._alike[alike] = replace(head, metadata=metadata), sum(name.startswith(b":") for name, _ in fields)
            self._alike_bytes += 2 * size + _HEAD_BYTES + len(fields) * _FIELD_BYTES
        return head

    def _varied(self, head: RequestHeaders, varying: list[Field]) -> RequestHeaders:
        """The same headers with these values. Raises StreamFault for an invalid one."""
        timeout_s, metadata = NO_DEADLINE, []
        for name, value in varying:
            if not is_text(value):
                raise not_text(name)
            if name == _TIMEOUT:
                timeout_s = seconds(value.decode())
            else:
                metadata.append((name.decode(), value.decode()))
        trace = self._trace_of(tuple(metadata)) if self._trace_of else None
        request_id = _request_id(metadata) if metadata else ""
        return RequestHeaders(
            head.path, head.call_buffer, timeout_s, head.encoding, head.grant, head.metadata, None, StatusCode.OK, b"",
            trace, request_id, head.authorization, head.content_length,
        )  # fmt: skip

    def _forget_blocks(self) -> None:
        self.known.clear()
        self._templates.clear()
        self._known_bytes = 0

    def forget(self) -> None:
        """Clear the caches, so that every block is decoded and parsed again."""
        self._forget_blocks()
        self._alike.clear()
        self._alike_bytes = 0

    def trailers(self, block: bytes) -> None:
        """Decode a client's trailers, which are not used, to keep the table in step with the peer's. Raises
        StreamFault, and ConnectionFault as `decode`."""
        fields, size = self._fields(block)
        self.forget()
        if size > self._bytes_max or len(fields) > FIELDS_MAX:
            raise StreamFault(f"trailers of {len(fields)} fields and {size} bytes")
        check_trailers(fields)

    def _fields(self, block: bytes) -> tuple[list[Field], int]:
        """The fields of a block, and their size."""
        try:
            return self._decoder.decode(block)
        except TooManyFields as error:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, str(error)) from error
        except HpackFault as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"header block: {error}") from error

    def _head(self, fields: RequestFields) -> RequestHeaders:
        path, content_type, method = (fields.text(name) for name in (b":path", b"content-type", b":method"))
        refusal, refused, explanation = None, StatusCode.UNKNOWN, b""
        if content_type != _GRPC and not content_type.startswith((f"{_GRPC}+", f"{_GRPC};")):  # nor grpc-web
            text = f"content-type: expected application/grpc, received {content_type[:_QUOTED_LENGTH_MAX]!r}"
            refusal, explanation = response_headers.not_grpc(415, text), response_headers.explanation(text)
        elif method != "POST":
            text = f"method: expected POST, received {method[:_QUOTED_LENGTH_MAX]}"
            refusal, explanation = response_headers.not_grpc(405, text), response_headers.explanation(text)
        elif fields.binary_values > BINARY_VALUES_MAX:
            text = f"metadata: expected at most {BINARY_VALUES_MAX} values in base64, received {fields.binary_values}"
            refused = StatusCode.RESOURCE_EXHAUSTED
            refusal = response_headers.refusal(Status(refused, text))
        grant, authorization = ANYONE, None
        if refusal is None and not self._is_open(path):
            authorization = fields.first(b"authorization")
            try:
                grant = self._grant_of(authorization)
            except Unauthenticated as error:
                status = status_of(error)
                refusal, refused = response_headers.refusal(status), status.code
        call_buffer = self._inbox_of(path)
        is_read = refusal is None and not self._is_ours(path)
        metadata = service_metadata(fields.service) if is_read else text_metadata(fields.service)
        return RequestHeaders(
            path=path,
            call_buffer=call_buffer,
            grant=grant,
            timeout_s=seconds(fields.text(_TIMEOUT)),
            encoding=fields.text(b"grpc-encoding", "identity"),
            metadata=metadata,
            refusal=refusal,
            refused=refused,
            explanation=explanation,
            trace=self._trace_of(metadata) if self._trace_of and refusal is None and self._is_ours(path) else None,
            request_id=_request_id(metadata),
            authorization=authorization,
            content_length=fields.content_length,
        )

    def _oversized(self, fields: list[Field], size: int) -> RequestHeaders:
        """The headers of a request that is refused for the size of its fields, which are not parsed further."""
        if size > self._bytes_max:
            text = f"the request's metadata has {size} bytes; this server takes at most {self._bytes_max}"
        else:
            text = f"the request has {len(fields)} header fields; this server takes at most {FIELDS_MAX}"
        path = next((value[:_PATH_LENGTH_MAX] for name, value in fields[:4] if name == b":path"), b"")
        status = Status(StatusCode.RESOURCE_EXHAUSTED, text)
        return RequestHeaders(
            path=path.decode() if is_text(path) else "",
            call_buffer=None,
            grant=ANYONE,
            timeout_s=NO_DEADLINE,
            encoding="identity",
            metadata=(),
            refusal=response_headers.refusal(status),
            refused=status.code,
        )


_TIMEOUT: Final = b"grpc-timeout"
_DIFFERING: Final = VARYING | {_TIMEOUT}
_DIFFERING_NAMES: Final = frozenset(name.decode() for name in _DIFFERING)


def _request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    return request_ids.sanitized(next((str(value) for name, value in metadata if name == request_ids.FIELD), ""))


def seconds(timeout: str | None) -> float:
    """A grpc-timeout field as seconds: at most eight digits and a unit. One that cannot be read is no deadline, nor is
    one beyond TIMEOUT_S_MAX."""
    if not timeout or len(timeout) > _TIMEOUT_DIGITS_MAX + 1 or not timeout[:-1].isdecimal():
        return NO_DEADLINE
    unit = _UNIT_S.get(timeout[-1])
    timeout_s = NO_DEADLINE if unit is None else int(timeout[:-1]) * unit
    return timeout_s if timeout_s <= TIMEOUT_S_MAX else NO_DEADLINE
