"""Health as the thread that receives tells it: checks, and calls that watch."""

from collections.abc import Callable

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2

from skylane.server.core.errors import BadRequest, ModelNotFound
from skylane.server.core.token_scope import ANYONE
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import Code, Kind, Setting
from skylane.server.grpc.http2.health import WATCH, Health, Watches
from support.h2 import Client, Ours, message

Response = health_pb2.HealthCheckResponse


class Thread:
    """The native transport's health service, which is this one."""

    def __init__(self) -> None:
        self.touched: list[Connection] = []

    def clock(self) -> float:
        return 0.0

    def do(self, job: Callable[[], object]) -> None:
        job()

    def touch(self, connection: Connection) -> None:
        self.touched.append(connection)


def asking(service: str) -> bytes:
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


class Watched:
    """A connection whose calls watch."""

    def __init__(self) -> None:
        self.health, self.thread = Health(), Thread()
        self.watches = Watches(self.health, self.thread)
        self.ours = Ours(open_stream=self.watches.open)
        self.client = Client()

    def watch(self, stream_id: int, service: str) -> None:
        self.ours.feed(self.client.head(stream_id, WATCH) + self.client.data(stream_id, message(asking(service))))

    def shown(self) -> list[tuple[int, int]]:
        """(stream, state) that was sent since it was asked last."""
        sent = [frame for frame in self.ours.sent() if frame.kind == Kind.DATA]
        return [(frame.stream_id, int(Response.FromString(frame.payload[5:]).status)) for frame in sent]


def test_a_check_tells_what_was_shown_last() -> None:
    health = Health()
    health.show({"": True, "a": False})
    health.show({"a": True, "b": False})
    states = {name: Response.FromString(health.check(asking(name), ANYONE)).status for name in ("", "a", "b")}
    assert states == {"": Response.SERVING, "a": Response.SERVING, "b": Response.NOT_SERVING}


@pytest.mark.parametrize(
    ("content", "error"), [(asking("nobody"), ModelNotFound), (b"\xff", BadRequest)], ids=["not known", "not a request"]
)
def test_what_cannot_be_checked(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        Health().check(content, ANYONE)


def test_who_watches_hears_at_once_and_of_each_change_and_of_nothing_else() -> None:
    watched = Watched()
    watched.health.show({"a": True, "b": True})
    watched.watch(1, "a")
    watched.watch(3, "new")
    assert watched.shown() == [(1, Response.SERVING), (3, Response.SERVICE_UNKNOWN)]
    watched.health.show({"a": True, "b": False})
    assert (watched.shown(), watched.thread.touched) == ([], [])
    watched.health.show({"a": False, "new": True})
    assert sorted(watched.shown()) == [(1, Response.NOT_SERVING), (3, Response.SERVING)]
    assert watched.thread.touched == [watched.ours.connection] * 2


def test_who_does_not_read_gets_the_last_state_when_there_is_room() -> None:
    watched = Watched()
    watched.ours.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: 7}))
    watched.health.show({"a": True})
    watched.watch(1, "a")
    for number in range(101):
        watched.health.show({"a": bool(number % 2)})
    assert watched.ours.connection.send_buffer.unsent <= 7, "changes are not gathered"
    watched.ours.sent()
    watched.ours.feed(frames.window_update(1, 1000))
    assert watched.shown() == [(1, Response.NOT_SERVING)]


def test_who_has_gone_is_told_nothing() -> None:
    watched = Watched()
    watched.watch(1, "a")
    watched.ours.feed(frames.reset(1, Code.CANCEL))
    watched.watch(3, "a")
    watched.ours.connection.lose()
    watched.ours.sent()
    watched.health.show({"a": True})
    assert (watched.shown(), watched.thread.touched) == ([], [])


@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(message(b"\xff"), StatusCode.INVALID_ARGUMENT, id="not a request"),
        pytest.param(message(asking("a")) * 2, StatusCode.INTERNAL, id="two"),
        pytest.param(b"", StatusCode.INTERNAL, id="none"),
    ],
)
def test_who_asks_wrongly_is_told_so(said: bytes, status: StatusCode) -> None:
    watched = Watched()
    watched.ours.feed(watched.client.head(1, WATCH) + watched.client.data(1, said))
    (end,) = [frame for frame in watched.ours.sent() if frame.ends]
    assert watched.ours.status(end)["grpc-status"] == str(status.value[0])
    assert not watched.ours.connection.busy
