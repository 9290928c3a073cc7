"""A thread that makes spans of records and sends them; the bound of what waits for it; and what it all is started from.

What goes where is said by OpenTelemetry's own environment variables. docs/tracing.md has those that matter.
"""

import logging
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from server.errors import CannotStart
from server.observe.tracing.records import Batch, Request
from server.observe.tracing.spans import Spans
from server.observe.tracing.tracer import Tracer

log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
"""What a server that goes gives the collector to take the last spans."""
TOGETHER: Final = 64
"""Spans sent together, unless the environment says otherwise. To encode one takes OpenTelemetry's exporter 27 µs, in
which no other thread has the interpreter: its own default of 512 would hold up requests for 14 ms, as far as Python
lets it."""
LOSSES_TOLD_S: Final = 60.0
"""Lost spans are told of no more often."""


class Exporting:
    """Records that wait for the thread, and the thread. See tracer.Records."""

    def __init__(self, exporter: SpanExporter, spans: Callable[[Request | Batch], Sequence[ReadableSpan]]) -> None:
        """Bounds and pace are OpenTelemetry's, for its own batches. Raises CannotStart if they are no numbers."""
        self._exporter, self._spans = exporter, spans
        self._waiting_max = _number(OTEL_BSP_MAX_QUEUE_SIZE, 2048)
        self._together = _number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, TOGETHER)
        self._pause_s = _number(OTEL_BSP_SCHEDULE_DELAY, 5000) / 1000
        self._records: list[Request | Batch] = []
        self._waiting = 0
        """Spans that will be made of them."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self.sent = self.dropped = 0
        """Spans that the collector took, and those that it will never see."""
        self._quiet_until = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="skylane-traces", daemon=True)
        self._thread.start()

    def put(self, record: Request | Batch) -> None:
        """See Records."""
        with self._lock:
            fits = self._waiting + record.spans <= self._waiting_max
            if fits:
                self._records.append(record)
                self._waiting += record.spans
            else:
                self.dropped += record.spans
        if self._waiting >= self._together:
            self._wake.set()

    def lost(self, spans: int) -> None:
        """See Records."""
        with self._lock:
            self.dropped += spans

    def close(self) -> None:
        """Send what there is, for a moment at most, and end."""
        self._closing = True
        self._wake.set()
        self._thread.join(FLUSH_S)
        self._exporter.shutdown()  # ends what it may still try
        self._thread.join(FLUSH_S)
        log.info("traces: %d spans sent, %d lost", self.sent, self.dropped)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause_s)
            self._wake.clear()
            self._send()
            self._tell_losses()
        self._send()  # what came while the last ones were sent

    def _send(self) -> None:
        with self._lock:
            records, self._records, self._waiting = self._records, [], 0
        made = list[ReadableSpan]()
        for record in records:
            if made and len(made) + record.spans > self._together:
                self._export(made)
                made = []
            made += self._spans(record)
        if made:
            self._export(made)

    def _export(self, made: Sequence[ReadableSpan]) -> None:
        try:
            took = self._exporter.export(made) is SpanExportResult.SUCCESS
        except Exception:  # of somebody else's, and not worth a request
            log.exception("traces: %d spans could not be sent", len(made))
            took = False
        if took:
            self.sent += len(made)
        else:
            self.lost(len(made))

    def _tell_losses(self) -> None:
        now = time.monotonic()
        if self.dropped and now >= self._quiet_until:
            self._quiet_until = now + LOSSES_TOLD_S
            log.warning("traces: %d spans lost so far: the collector is too slow, or not there", self.dropped)


class Tracing:
    """All that is there where calls are traced."""

    def __init__(self, exporter: SpanExporter, ratio: float, clock: Callable[[], float], codes: Mapping[str, int]):
        """See Tracer."""
        chance = random.Random()
        spans = Spans(_resource(), version("skylane"), _epoch(clock), lambda: chance.getrandbits(64) or 1)
        self.exporting = Exporting(exporter, spans.of)
        self.tracer = Tracer(self.exporting, ratio, clock, chance, codes)

    def close(self) -> None:
        """Send what there is, and end. Blocks."""
        self.exporting.close()


def exporter_of(kind: str) -> SpanExporter:
    """`otlp` or `console`. Raises CannotStart."""
    if kind == "console":
        return ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: span.to_json(indent=None) + "\n")
    protocol = os.environ.get(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL) or os.environ.get(OTEL_EXPORTER_OTLP_PROTOCOL)
    if protocol in (None, "", "grpc"):
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc

        return over_grpc.OTLPSpanExporter()
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http

        return over_http.OTLPSpanExporter()
    raise CannotStart(f"{OTEL_EXPORTER_OTLP_PROTOCOL}: expected grpc or http/protobuf, received {protocol!r}")


def _resource() -> Resource:
    """This process; what the environment says goes first."""
    found = Resource({SERVICE_VERSION: version("skylane"), SERVICE_INSTANCE_ID: str(uuid.uuid4())}).merge(
        Resource.create()
    )
    named = str(found.attributes.get(SERVICE_NAME, ""))
    return found.merge(Resource({SERVICE_NAME: "skylane"})) if named.startswith("unknown_service") else found


def _epoch(clock: Callable[[], float]) -> Callable[[], int]:
    return lambda: time.time_ns() - round(clock() * 1e9)


def _number(variable: str, default: int) -> int:
    given = os.environ.get(variable) or str(default)
    if not given.isdecimal() or not int(given):
        raise CannotStart(f"{variable}: expected a number from 1, received {given!r}")
    return int(given)
