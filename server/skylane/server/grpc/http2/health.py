"""The standard health service on the reactor's thread: Check, and Watch.

A watching call takes a few hundred bytes here; through grpcio's server it would take one of its limited number of
calls. With the grpcio transport, grpcio's own servicer answers the same.
"""

from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import SERVICE_NAME

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core.errors import BadRequest, ModelNotFound
from skylane.server.core.text import quoted
from skylane.server.core.token_scope import Grant
from skylane.server.grpc.http2.call_streams import Thread
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.request_headers import RequestHeaders

CHECK: Final = f"/{SERVICE_NAME}/Check"
WATCH: Final = f"/{SERVICE_NAME}/Watch"

_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The state of every service. Set by the event loop, read by any thread."""

    def __init__(self) -> None:
        self._states: Mapping[str, int] = {}
        self.changed: Callable[[], object] = bool
        """Called after each change."""

    def show(self, serving: Mapping[str, bool]) -> None:
        """Set the state of these services; others keep theirs."""
        response = health_pb2.HealthCheckResponse
        states = {name: response.SERVING if is_up else response.NOT_SERVING for name, is_up in serving.items()}
        self._states = {**self._states, **states}
        self.changed()

    def state(self, service: str) -> int | None:
        """The state of a service, or with an empty name of the server; None if there is no such service."""
        return self._states.get(service)

    def check(self, message: bytes, _: Grant) -> bytes:
        service = service_of(message)
        state = self.state(service)
        if state is None:
            raise ModelNotFound(f"there is no service {quoted(service)}")
        return reply(state)


def service_of(message: bytes) -> str:
    """The service that a HealthCheckRequest asks for. Raises BadRequest."""
    try:
        return str(health_pb2.HealthCheckRequest.FromString(message).service)
    except DecodeError as error:
        raise BadRequest(f"the message is not a grpc.health.v1.HealthCheckRequest: {error}") from error


def reply(state: int) -> bytes:
    """A HealthCheckResponse."""
    message: bytes = health_pb2.HealthCheckResponse(status=state).SerializeToString()
    return message


class Watches:
    """All watching calls. Belongs to the reactor's thread, but for `refresh`."""

    def __init__(self, health: Health, thread: Thread) -> None:
        self._health, self._thread = health, thread
        self._open: set[Watch] = set()
        health.changed = self.refresh

    def open(self, connection: Connection, stream_id: int, _: RequestHeaders) -> "Watch":
        watch = Watch(self, self._health, connection, stream_id)
        self._open.add(watch)
        return watch

    def closed(self, watch: "Watch") -> None:
        """Remove a watch that has ended."""
        self._open.discard(watch)

    def refresh(self) -> None:
        """Send changed states to all watching calls. From any thread."""
        self._thread.do(self._refresh)

    def _refresh(self) -> None:
        for watch in list(self._open):
            if watch.send_change():
                self._thread.touch(watch.connection)


class Watch:
    """One watching call. A StreamHandler."""

    def __init__(self, watches: Watches, health: Health, connection: Connection, stream_id: int) -> None:
        self._watches, self._health = watches, health
        self.connection, self._stream_id = connection, stream_id
        self._service: str | None = None
        self._shown: int | None = None
        self._is_read = True
        """Whether the client's window had room for the last state."""

    busy = False
    """See StreamHandler. A server that shuts down does not wait for watching calls."""

    def message(self, message: bytes) -> None:
        if self._service is not None:
            self._end(Status(StatusCode.INTERNAL, "expected one message, received more"))
            return
        try:
            self._service = service_of(message)
        except BadRequest as error:
            self._end(status_of(error))
            return
        self.connection.streams.open_response(self._stream_id, b"")
        self.send_change()

    def half_close(self) -> None:
        if self._service is None:
            self._end(Status(StatusCode.INTERNAL, "the request ended before its message was whole"))

    def cancel(self) -> None:
        self._watches.closed(self)

    def send_change(self) -> bool:
        """Send the state if it has changed since the last one, as soon as the client's window has room."""
        if self._service is None or not self._is_read:
            return False
        state = self._health.state(self._service)
        if (state := _UNKNOWN if state is None else state) == self._shown:
            return False
        self._shown, self._is_read = state, False
        self.connection.streams.send_message(self._stream_id, reply(state), self._sent)
        return True

    def _sent(self) -> None:
        self._is_read = True
        self.send_change()

    def _end(self, status: Status) -> None:
        self._watches.closed(self)
        self.connection.streams.close_response(self._stream_id, status, b"")
