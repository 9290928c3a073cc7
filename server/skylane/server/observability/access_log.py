"""The access log: one line for each request, of any transport and protocol. Created only if it is configured.

A line has the request's id, protocol, model or path, status and duration: never its inputs.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.errors import ServingError
from skylane.server.core.text import quoted
from skylane.server.core.types import Call, Interface, Sink
from skylane.server.engine.batching import Batch
from skylane.server.observability.logs import ACCESS, CALL_TAIL, FIELDS, REQUEST_ID

log: Final = logging.getLogger(ACCESS)

OK: Final = "OK"
PATH_MAX: Final = 200
"""Most characters of a path in a line."""


class AccessLog:
    """Writes the lines. Thread-safe. An Observer of the engine, so that it knows the model of a call."""

    def __init__(self, clock: Callable[[], float], statuses: Mapping[str, str]) -> None:
        """`clock`: the engine's. `statuses`: name of an error's class → gRPC's status."""
        self._clock, self._statuses = clock, statuses
        self._open: dict[Call, tuple[Interface, int] | None] = {}
        """Calls over gRPC → the model and the number of rows, once they are known."""

    # --- Calls of batched methods over gRPC -------------------------------------------------------------------------

    def arrive(self, calls: Sequence[Call], _: str, sink: Sink) -> Sink:
        """Calls of one method that arrived together. Returns the sink that takes their replies, see
        skylane.server.grpc.base.traced_methods."""
        logging_sink = LoggingSink(sink, self, self._clock())
        for call in calls:
            call.sink = logging_sink
            self._open[call] = None
        return logging_sink

    def bound(self, interface: Interface, task: BatchTask) -> None:
        for call in task.calls:
            if call in self._open:  # those over HTTP are logged by `left`
                self._open[call] = interface, task.rows_each

    def ran(self, interface: Interface, batch: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        """See Observer."""

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        """See Observer."""

    def answered(self, calls: Sequence[Call], arrived_at: float, error: ServingError | None = None) -> None:
        """Log calls that have their reply, or this error."""
        duration_s = self._clock() - arrived_at
        status = self._statuses[type(error).__name__] if error else OK
        for call in calls:
            fields: dict[str, Any] = {"protocol": call.protocol, "status": status, "duration_s": round(duration_s, 6)}
            summary = call.protocol
            if bound := self._open.pop(call, None):
                interface, rows = bound
                summary = f"{call.protocol} {interface.model}/{interface.version}, {rows} row{'' if rows == 1 else 's'}"
                fields |= {"model": interface.model, "version": interface.version, "rows": rows}
            self._write(f"{summary}: {status} in {duration_s * 1e3:.3f} ms", fields, call.request_id, call.tail)

    # --- Everything else --------------------------------------------------------------------------------------------

    def ended(self, protocol: str, path: str, status: str, request_id: str) -> None:
        """Log a request over gRPC that was refused before it became a call, or whose method is not batched."""
        fields = {"protocol": protocol, "status": status, "path": path[:PATH_MAX]}
        self._write(f"{protocol} {quoted(path)}: {status}", fields, request_id)

    def left(self, protocol: str, method: str, path: str, status: int, duration_s: float, request_id: str) -> None:
        """Log a request over HTTP that has ended."""
        fields = {"protocol": protocol, "status": status, "duration_s": round(duration_s, 6)}
        fields |= {"method": method[:PATH_MAX], "path": path[:PATH_MAX]}
        text = f"{protocol} {quoted(f'{method} {path}')}: {status or 'the caller left'} in {duration_s * 1e3:.3f} ms"
        self._write(text, fields, request_id)

    def _write(self, text: str, fields: Mapping[str, Any], request_id: str, tail: bytes = b"") -> None:
        log.info("%s", text, extra={FIELDS: fields, REQUEST_ID: request_id, CALL_TAIL: tail})


class LoggingSink:
    """A sink that logs the calls whose replies it passes on."""

    def __init__(self, sink: Sink, access: AccessLog, arrived_at: float) -> None:
        self._sink, self._access, self._arrived_at = sink, access, arrived_at

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        self._sink.answer(calls, replies, ids)
        self._access.answered(calls, self._arrived_at)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._sink.refuse(calls, error)
        self._access.answered(calls, self._arrived_at, error)
