"""OpenTelemetry's exporters, adapted to this server's spans. They read their own environment variables."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from skylane.server.core.errors import CannotStart
from skylane.server.observability.tracing.encoding import Encoding
from skylane.server.observability.tracing.export import Exporter
from skylane.server.observability.tracing.spans import Span


class GrpcExporter(OTLPSpanExporter):
    """The exporter over gRPC, with messages that are encoded in a fifth of the time."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self._encoding = encoding

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        return super().export(spans)

    def _translate_data(self, data: Sequence[Any]) -> ExportTraceServiceRequest:
        """Overrides OTLPExporterMixin's method, as it provides for each kind of data."""
        return self._encoding.request(data)


class SdkExporter:
    """Any exporter that takes the SDK's span objects."""

    def __init__(self, exporter: SpanExporter, encoding: Encoding) -> None:
        self._exporter, self._encoding = exporter, encoding
        self.shutdown = exporter.shutdown

    def export(self, spans: Sequence[Span]) -> SpanExportResult:
        return self._exporter.export([self._encoding.readable(span) for span in spans])


def exporter_of(kind: str, encoding: Encoding) -> Exporter:
    """`otlp` or `console`. Raises CannotStart."""
    if kind == "console":
        out = ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: span.to_json(indent=None) + "\n")
        return SdkExporter(out, encoding)
    protocol = os.environ.get(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL) or os.environ.get(OTEL_EXPORTER_OTLP_PROTOCOL)
    if protocol in (None, "", "grpc"):
        return GrpcExporter(encoding)
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http  # it needs another library

        return SdkExporter(over_http.OTLPSpanExporter(), encoding)
    raise CannotStart(f"{OTEL_EXPORTER_OTLP_PROTOCOL}: expected grpc or http/protobuf, received {protocol!r}")
