"""Records → spans, by OpenTelemetry's semantic conventions for RPC and HTTP. Pure: encoding.py knows its library."""

from collections.abc import Callable
from typing import Final, NamedTuple

from skylane.server.observability.tracing.context import Parent
from skylane.server.observability.tracing.records import Ids, TracedBatch, TracedRequest

SERVER_FAULTS: Final = frozenset((2, 4, 12, 13, 14, 15))
"""gRPC's codes that are errors of a server's span: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
DATA_LOSS; the others are the caller's."""

Attributes = dict[str, str | int]


class Span(NamedTuple):
    """One span."""

    name: str
    ids: Ids
    parent_id: int
    """0: none."""
    begins_ns: int
    """Since 1970, as is the next."""
    ends_ns: int
    attributes: Attributes
    links: tuple[Ids, ...] = ()
    state: str = ""
    """The value of tracestate."""
    is_server: bool = False
    """Whether it is the span of a request, and not of a part of it."""
    is_fault: bool = False
    parent_is_remote: bool = False


class Spans:
    """Makes spans of records."""

    def __init__(self, epoch: Callable[[], int], new_id: Callable[[], int]) -> None:
        """`epoch`: nanoseconds from 1970 to instant 0 of the engine's clock, as things are now. `new_id`: of a span."""
        self._epoch, self._new_id = epoch, new_id

    def of(self, record: TracedRequest | TracedBatch) -> list[Span]:
        """All spans of one record, as many as it says."""
        zero_ns = self._epoch()
        return [_of_batch(record, zero_ns)] if isinstance(record, TracedBatch) else self._of_request(record, zero_ns)

    def _of_request(self, request: TracedRequest, zero_ns: int) -> list[Span]:
        spans = [_of_server(request, zero_ns)]
        trace_id, own_id = request.ids
        state = spans[0].state

        def child(name: str, began_at: float, ended_at: float, batch: TracedBatch | None = None) -> None:
            ids = Ids(trace_id, self._new_id())
            begins_ns, ends_ns = zero_ns + round(began_at * 1e9), zero_ns + round(ended_at * 1e9)
            attributes, links = (_size(batch), (batch.ids,)) if batch else ({}, ())
            spans.append(Span(name, ids, own_id, begins_ns, ends_ns, attributes, links, state))

        if request.bound_at:
            child("decode", request.began_at, request.bound_at)
        if batch := request.batch:
            child("queue", request.bound_at, batch.began_at)
            child("run", batch.gathered_at, batch.ran_at, batch)
            child("encode", batch.ran_at, batch.encoded_at)
        elif request.waited:
            child("queue", request.bound_at, request.ended_at)
        return spans


def _of_batch(batch: TracedBatch, zero_ns: int) -> Span:
    begins_ns, ends_ns = zero_ns + round(batch.began_at * 1e9), zero_ns + round(batch.encoded_at * 1e9)
    attributes = {**_model(batch.model, batch.version), **_size(batch)}
    return Span("batch", batch.ids, 0, begins_ns, ends_ns, attributes, tuple(batch.members))


def _of_server(request: TracedRequest, zero_ns: int) -> Span:
    name, attributes, is_fault = _of_http(request) if request.http else _of_rpc(request)
    attributes |= _of_call(request)
    if is_fault:
        attributes["error.type"] = request.refused or str(request.status)
    parent = request.parent or Parent(0, 0, True)
    return Span(
        name,
        request.ids,
        parent.span_id,
        zero_ns + round(request.began_at * 1e9),
        zero_ns + round(request.ended_at * 1e9),
        attributes,
        (request.followed,) if request.followed else (),
        parent.state,
        is_server=True,
        is_fault=is_fault,
        parent_is_remote=request.parent is not None,
    )


def _of_rpc(request: TracedRequest) -> tuple[str, Attributes, bool]:
    """A request's name and attributes, and whether its status is a server error."""
    service, _, method = request.rpc[1:].partition("/")
    attributes: Attributes = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": request.status,
    }
    return f"{service}/{method}", attributes, request.status in SERVER_FAULTS


def _of_http(request: TracedRequest) -> tuple[str, Attributes, bool]:
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


def _of_call(request: TracedRequest) -> Attributes:
    """Attributes of a call that the conventions do not define."""
    attributes = _model(request.model, request.version)
    if request.protocol:
        attributes["skylane.protocol"] = request.protocol
    if request.request_id:
        attributes["skylane.request_id"] = request.request_id
    if request.bound_at:
        attributes["skylane.rows"] = request.rows
    if request.refused:
        attributes["skylane.refused"] = request.refused
    elif request.coalesced:
        attributes["skylane.cache"] = "coalesced"
    elif request.bound_at and request.rows and request.batch is None:
        attributes["skylane.cache"] = "hit"
    if request.batch:
        attributes["skylane.batch.rows"] = request.batch.rows
    return attributes


def _model(name: str, version: int) -> Attributes:
    return {
        **({"skylane.model.name": name} if name else {}),
        **({"skylane.model.version": version} if version else {}),
    }


def _size(batch: TracedBatch) -> Attributes:
    return {"skylane.batch.rows": batch.rows, "skylane.batch.requests": batch.calls}
