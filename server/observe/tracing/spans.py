"""Records → spans of OpenTelemetry, by its semantic conventions for RPC and HTTP. On the exporting thread.

The spans are made as what the SDK's own tracer would leave behind. By way of the tracer each would take several times
as long, for a context that nobody reads.
"""

from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from server.observe.tracing.context import Parent
from server.observe.tracing.records import Batch, Ids, Request

SERVER_FAULTS: Final = frozenset((2, 4, 12, 13, 14, 15))
"""gRPC's codes that are errors of a server's span: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
DATA_LOSS; the others are the caller's."""

Attributes = dict[str, str | int]

_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Makes them."""

    def __init__(self, resource: Resource, version: str, epoch: Callable[[], int], new_id: Callable[[], int]):
        """`epoch`: nanoseconds from 1970 to instant 0 of the engine's clock, as things are now. `new_id`: of a span."""
        self._resource, self._epoch, self._new_id = resource, epoch, new_id
        self._zero_ns = 0
        self._scope = InstrumentationScope("skylane", version)

    def of(self, record: Request | Batch) -> list[ReadableSpan]:
        """All spans of one record, as many as it says."""
        self._zero_ns = self._epoch()  # once for all of them: they must not move against each other
        return self._of_batch(record) if isinstance(record, Batch) else self._of_request(record)

    def _of_batch(self, batch: Batch) -> list[ReadableSpan]:
        members = [Link(_context(ids)) for ids in batch.members]
        attributes = {**_model(batch.model, batch.version), **_size(batch)}
        return [self._span("batch", _context(batch.ids), None, batch.began_at, batch.encoded_at, attributes, members)]

    def _of_request(self, request: Request) -> list[ReadableSpan]:
        parent = request.parent
        state = TraceState.from_header([parent.state]) if parent and parent.state else None
        own = _context(request.ids, state)
        made = [self._server_span(request, own, parent, state)]

        def child(name: str, began_at: float, ended_at: float, batch: Batch | None = None) -> None:
            context = _context(Ids(request.ids.trace_id, self._new_id()), state)
            links = [Link(_context(batch.ids))] if batch else []
            made.append(self._span(name, context, own, began_at, ended_at, _size(batch) if batch else {}, links))

        if request.bound_at:
            child("decode", request.began_at, request.bound_at)
        if batch := request.batch:
            child("queue", request.bound_at, batch.began_at)
            child("run", batch.gathered_at, batch.ran_at, batch)
            child("encode", batch.ran_at, batch.encoded_at)
        elif request.waited:
            child("queue", request.bound_at, request.ended_at)
        return made

    def _server_span(
        self, request: Request, own: SpanContext, parent: Parent | None, state: TraceState | None
    ) -> ReadableSpan:
        name, attributes, is_fault = _of_http(request) if request.http else _of_rpc(request)
        attributes |= _of_call(request)
        if is_fault:
            attributes["error.type"] = request.refused or str(request.status)
        remote = None if parent is None else _context(Ids(parent.trace_id, parent.span_id), state, is_remote=True)
        links = [Link(_context(request.followed))] if request.followed else []
        status = Status(StatusCode.ERROR) if is_fault else Status(StatusCode.UNSET)
        began_at, ended_at = request.began_at, request.ended_at
        return self._span(name, own, remote, began_at, ended_at, attributes, links, SpanKind.SERVER, status)

    def _span(
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        began_at: float,
        ended_at: float,
        attributes: Attributes,
        links: Sequence[Link],
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            own,
            parent,
            self._resource,
            attributes,
            links=links,
            kind=kind,
            status=status or Status(StatusCode.UNSET),
            start_time=self._zero_ns + round(began_at * 1e9),
            end_time=self._zero_ns + round(ended_at * 1e9),
            instrumentation_scope=self._scope,
        )


def _of_rpc(request: Request) -> tuple[str, Attributes, bool]:
    """A request's name, its attributes, and whether how it ended is our fault."""
    service, _, method = request.rpc[1:].partition("/")
    attributes: Attributes = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": request.status,
    }
    return f"{service}/{method}", attributes, request.status in SERVER_FAULTS


def _of_http(request: Request) -> tuple[str, Attributes, bool]:
    assert request.http is not None
    http, status = request.http, request.status
    attributes: Attributes = {
        "http.request.method": http.method,
        "http.route": http.route,
        "url.path": http.path,
        "url.scheme": http.scheme,
    }
    if status:
        attributes["http.response.status_code"] = status
    return f"{http.method} {http.route}", attributes, status >= 500


def _of_call(request: Request) -> Attributes:
    """What we say of a call beside the conventions."""
    found = _model(request.model, request.version)
    if request.protocol:
        found["skylane.protocol"] = request.protocol
    if request.bound_at:
        found["skylane.rows"] = request.rows
    if request.refused:
        found["skylane.refused"] = request.refused
    elif request.coalesced:
        found["skylane.cache"] = "coalesced"
    elif request.bound_at and request.rows and request.batch is None:
        found["skylane.cache"] = "hit"
    if request.batch:
        found["skylane.batch.rows"] = request.batch.rows
    return found


def _model(name: str, version: int) -> Attributes:
    return {
        **({"skylane.model.name": name} if name else {}),
        **({"skylane.model.version": version} if version else {}),
    }


def _size(batch: Batch) -> Attributes:
    return {"skylane.batch.rows": batch.rows, "skylane.batch.requests": batch.calls}


def _context(ids: Ids, state: TraceState | None = None, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(ids.trace_id, ids.span_id, is_remote, _FLAGS, state)
