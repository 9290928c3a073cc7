"""A collector of OpenTelemetry: a real gRPC server, or a real HTTP server, that keeps what it is sent."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

SERVER, INTERNAL = Message.SPAN_KIND_SERVER, Message.SPAN_KIND_INTERNAL
UNSET, ERROR = 0, 2


@dataclass(frozen=True)
class Span:
    """One span as it came; ids in hex."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    state: str
    begins: int
    """Nanoseconds since 1970; so the next."""
    ends: int
    told: dict[str, Any]
    """Attributes."""
    links: list[tuple[str, str]]
    """(trace, span)."""
    resource: dict[str, Any]


class Collector(TraceServiceServicer):
    """Keeps spans. Thread-safe."""

    def __init__(self) -> None:
        self.url = ""
        self._came = threading.Condition()
        self._spans: list[Span] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """See opentelemetry.proto.collector.trace.v1."""
        self.take(request)
        return ExportTraceServiceResponse()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what is in a request."""
        found = [
            _span(span, _values(group.resource.attributes))
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        with self._came:
            self._spans += found
            self._came.notify_all()

    @property
    def spans(self) -> list[Span]:
        """All that came so far."""
        with self._came:
            return list(self._spans)

    def named(self, name: str) -> list[Span]:
        """Those with this name."""
        return [span for span in self.spans if span.name == name]

    @property
    def requests(self) -> list[Span]:
        """Those of requests, in the order in which they began."""
        return sorted((span for span in self.spans if span.kind == SERVER), key=lambda span: span.begins)

    def children(self, span: Span) -> dict[str, Span]:
        """Name → span, of those below it."""
        found = [each for each in self.spans if each.parent == span.id and each.trace == span.trace]
        assert len({each.name for each in found}) == len(found)
        return {each.name: each for each in found}

    def until(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """All spans, once they are enough."""
        with self._came:
            assert self._came.wait_for(lambda: enough(self._spans), 60), f"only {len(self._spans)} spans came"
            return list(self._spans)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """One that listens for gRPC inside the block."""
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def collecting_by_http() -> Iterator[Collector]:
    """One that listens for HTTP inside the block."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _span(span: Message, resource: dict[str, Any]) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.status.code,
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
