"""Sends spans on a thread of its own, with a bounded queue of records.

OpenTelemetry's environment variables configure the destination; docs/tracing.md lists the important ones.
"""

import logging
import math
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Final, Protocol

from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from skylane.server.core.errors import CannotStart
from skylane.server.observability.snapshot import SpanSnapshot
from skylane.server.observability.tracing.encoding import Encoding
from skylane.server.observability.tracing.records import TracedBatch, TracedRequest
from skylane.server.observability.tracing.spans import Span, Spans
from skylane.server.observability.tracing.tracer import Tracer

log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
"""How long a server that shuts down waits until the collector has accepted the last spans."""
BATCH_SPANS: Final = 512
"""Spans sent together, unless the environment says otherwise, as OpenTelemetry's own exporters do: to encode and send
them takes 1.2 ms, in which other threads wait for the interpreter now and then; half of them take 0.75 ms."""
EPOCH_S: Final = 1.0
"""For so long the offset between the engine's clock and the time of day is cached."""
LOSSES_LOGGED_S: Final = 60.0
"""Lost spans are logged at most this often."""


class Exporter(Protocol):
    """Sends spans. Blocks."""

    def export(self, spans: Sequence[Span]) -> SpanExportResult:
        """Returns whether all were accepted."""

    def shutdown(self) -> None:
        """Stop, without further attempts."""


class Exporting:
    """A queue of records and the thread that sends their spans. See tracer.Records."""

    def __init__(self, exporter: Exporter, spans: Callable[[TracedRequest | TracedBatch], Sequence[Span]]) -> None:
        """Reads OpenTelemetry's variables for batches. Raises CannotStart if they are not numbers."""
        self._exporter, self._spans = exporter, spans
        self._waiting_max = _number(OTEL_BSP_MAX_QUEUE_SIZE, 2048)
        self._batch_spans = _number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, BATCH_SPANS)
        self._pause_s = _number(OTEL_BSP_SCHEDULE_DELAY, 5000) / 1000
        self._records: list[TracedRequest | TracedBatch] = []
        self._waiting = 0
        """Number of spans that will be made of them."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self.sent = self.dropped = 0
        """Spans that the collector accepted, and those that were lost."""
        self._quiet_until = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="skylane-traces", daemon=True)
        self._thread.start()

    def put(self, record: TracedRequest | TracedBatch) -> None:
        with self._lock:
            fits = self._waiting + record.spans <= self._waiting_max
            if fits:
                self._records.append(record)
                self._waiting += record.spans
            else:
                self.dropped += record.spans
        if self._waiting >= self._batch_spans:
            self._wake.set()

    def lost(self, spans: int) -> None:
        with self._lock:
            self.dropped += spans

    def close(self) -> None:
        """Send what is queued within FLUSH_S, and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join(FLUSH_S)
        self._exporter.shutdown()  # ends its attempts
        self._thread.join(FLUSH_S)
        log.info("traces: %d spans sent, %d lost", self.sent, self.dropped)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause_s)
            self._wake.clear()
            self._send()
            self._log_losses()
        self._send()  # records that arrived meanwhile

    def _send(self) -> None:
        with self._lock:
            records, self._records, self._waiting = self._records, [], 0
        made = list[Span]()
        for record in records:
            if made and len(made) + record.spans > self._batch_spans:
                self._export(made)
                made = []
            made += self._spans(record)
        if made:
            self._export(made)

    def _export(self, made: Sequence[Span]) -> None:
        try:
            took = self._exporter.export(made) is SpanExportResult.SUCCESS
        except Exception:  # a bug of the exporter must not affect requests
            log.exception("traces: %d spans could not be sent", len(made))
            took = False
        if took:
            self.sent += len(made)
        else:
            self.lost(len(made))

    def _log_losses(self) -> None:
        now = time.monotonic()
        if self.dropped and now >= self._quiet_until:
            self._quiet_until = now + LOSSES_LOGGED_S
            log.warning("traces: %d spans lost so far: the collector is too slow or not reachable", self.dropped)


class Tracing:
    """The parts of tracing."""

    def __init__(
        self,
        exporter_of: Callable[[Encoding], Exporter],
        ratio: float,
        clock: Callable[[], float],
        codes: Mapping[str, int],
    ) -> None:
        """See Tracer. Raises CannotStart."""
        chance, release = random.Random(), version("skylane")
        spans = Spans(_epoch(clock), lambda: chance.getrandbits(64) or 1)
        self.exporting = Exporting(exporter_of(Encoding(_resource(release), release)), spans.of)
        self.tracer = Tracer(self.exporting, ratio, clock, chance, codes)

    @property
    def spans(self) -> SpanSnapshot:
        """Spans sent and lost until now."""
        return SpanSnapshot(self.exporting.sent, self.exporting.dropped)

    def close(self) -> None:
        """Send what is queued, and end. Blocks."""
        self.exporting.close()


def _resource(release: str) -> Resource:
    """The resource of this process; variables of the environment have priority."""
    ours = Resource({SERVICE_VERSION: release, SERVICE_INSTANCE_ID: str(uuid.uuid4())})
    resource = ours.merge(Resource.create())
    name = str(resource.attributes.get(SERVICE_NAME, ""))
    return resource.merge(Resource({SERVICE_NAME: "skylane"})) if name.startswith("unknown_service") else resource


def _epoch(clock: Callable[[], float]) -> Callable[[], int]:
    """See Spans. Cached for a second, so that the spans of one batch have the same offset."""
    cached_ns, cached_until = 0, -math.inf

    def epoch() -> int:
        nonlocal cached_ns, cached_until
        now = clock()
        if now >= cached_until:
            cached_ns, cached_until = time.time_ns() - round(clock() * 1e9), now + EPOCH_S
        return cached_ns

    return epoch


def _number(variable: str, default: int) -> int:
    given = os.environ.get(variable) or str(default)
    if not given.isdecimal() or not int(given):
        raise CannotStart(f"{variable}: expected a number from 1, received {given!r}")
    return int(given)
