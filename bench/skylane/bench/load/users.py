"""Locust's users: each holds a connection, takes the next request of its process's session, and times it."""

import http.client
import re
import time
from math import ceil
from typing import Any

import grpc
from locust import User, task

from skylane.bench.load.session import Session
from skylane.bench.workload.arrivals import Arrivals
from skylane.bench.workload.requests import Question, aside
from skylane.bench.workload.wire import WAYS, Refused, check_http, check_streamed

IDLE_S = 1.0
GRPC_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


_NUMBERS = re.compile(r"\d[\d.,:]*")


class Failed(Exception):
    """A failure as Locust counts it: by its text."""

    def __repr__(self) -> str:
        """Locust shows this."""
        return str(self)


class AskingUser(User):
    """Asks one request after the other."""

    abstract = True
    way = WAYS["predict"]
    _due_at: float | None = None
    """Of the request that this user sends next, if there is a rate."""

    def on_start(self) -> None:
        """Connect, if there is something to ask."""
        if session := self._session:
            self.connect(session)

    def connect(self, session: Session) -> None:
        """Know where to ask."""
        raise NotImplementedError

    @property
    def _session(self) -> Session | None:
        return getattr(self.environment, "session", None)  # None: the run is about to be given up

    def wait_time(self) -> float:
        """Seconds until there is something to ask. Locust ends users at once only while they wait."""
        session = self._session
        if session is None:
            return IDLE_S
        if session.arrivals is None:
            return IDLE_S if session.closed else 0
        now = time.perf_counter()
        if self._due_at is None:
            self._due_at = session.arrivals.take(now)
        return IDLE_S if self._due_at is None else max(self._due_at - now, 0)

    @task
    def ask(self) -> None:
        """The next request. With a rate also what is due already: a run ends when that is answered or given up."""
        session = self._session
        if session is None or (session.closed and not session.arrivals):
            return
        session.asking += 1
        try:
            if session.arrivals is None:
                self._ask(session, time.perf_counter())
            else:
                self._ask_all_due(session, session.arrivals)
        finally:
            session.asking -= 1

    def _ask_all_due(self, session: Session, arrivals: Arrivals) -> None:
        while self._due_at is not None and self._due_at <= time.perf_counter():
            self._ask(session, self._due_at)
            self._due_at = arrivals.take(time.perf_counter())

    def _ask(self, session: Session, due_at: float) -> None:
        question = session.draw(self.way)
        left_s = due_at + session.timeout_s - time.perf_counter()
        error, size = None, 0
        try:
            if left_s <= 0:
                raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "all users were waiting until it was too late to send")
            size = self.send(question, left_s)
        except (grpc.RpcError, Refused, OSError, http.client.HTTPException) as met:
            error = met
        self._report(question, time.perf_counter() - due_at, size, error)
        if left_s <= 0:
            time.sleep(0)  # let others go on

    def send(self, question: Question, timeout_s: float) -> int:
        """Bytes of the answer. Raises grpc.RpcError, Refused, OSError."""
        raise NotImplementedError

    def _report(self, question: Question, took_s: float, size: int, error: Exception | None) -> None:
        code = _code_of(error)
        name = question.name
        if code is question.expected:
            error = None
        elif error is None:
            error = Failed(f"expected {question.expected.name}, but it was answered")
        elif code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            name = aside(question.name, "refused for overload")
        self.environment.events.request.fire(
            request_type=self.way.name,
            name=name,
            response_time=took_s * 1000,
            response_length=size,
            exception=_short(error),
            context={},
        )


class GrpcUser(AskingUser):
    """Has a connection of its own."""

    abstract = True
    _channel: grpc.Channel | None = None

    def connect(self, session: Session) -> None:
        self._channel = grpc.insecure_channel(session.address, GRPC_OPTIONS)

    def on_stop(self) -> None:
        """Hang up."""
        if self._channel:
            self._channel.close()


class PredictUser(GrpcUser):
    """An internal service that calls Predict."""

    def connect(self, session: Session) -> None:
        super().connect(session)
        assert self._channel is not None
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(self.way.path)

    def send(self, question: Question, timeout_s: float) -> int:
        return len(self._call(question.body, timeout=timeout_s))


class InferUser(PredictUser):
    """A client of the Open Inference Protocol."""

    way = WAYS["infer"]


class StreamUser(GrpcUser):
    """A service that keeps a PredictStream open and asks one thing at a time."""

    way = WAYS["stream"]
    _open: "_Conversation | None" = None

    def on_stop(self) -> None:
        """Hang up."""
        self._end()
        super().on_stop()

    def send(self, question: Question, timeout_s: float) -> int:
        if self._open is None:
            assert self._channel is not None
            self._open = _Conversation(self._channel)
        try:
            reply = self._open.say(question.body, timeout_s)
        except (grpc.RpcError, Refused):
            self._end()  # the next request begins another stream
            raise
        check_streamed(reply)
        return len(reply)

    def _end(self) -> None:
        if self._open:
            self._open.end()
        self._open = None


class _Conversation:
    """One stream, used as question and answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        from gevent.queue import SimpleQueue

        self._questions: Any = SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(WAYS["stream"].path)
        self._replies = call(iter(self._questions.get, None))

    def say(self, message: bytes, timeout_s: float) -> bytes:
        """The reply. Raises grpc.RpcError or Refused at the end of the stream, and when it takes too long."""
        from gevent import spawn_later

        alarm = spawn_later(timeout_s, self._replies.cancel)  # a stream's messages have no deadlines of their own
        try:
            self._questions.put(message)
            reply: bytes = next(self._replies)
        except StopIteration:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the server ended the stream") from None
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED and alarm.ready():
                raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
            raise
        finally:
            alarm.kill(block=False)
        return reply

    def end(self) -> None:
        """Let go of whoever waits for the next question."""
        self._questions.put(None)


class RestUser(AskingUser):
    """A client of JSON over HTTP. With the standard library: 150 µs of CPU for a request, Locust's FastHttpUser 190."""

    way = WAYS["rest"]

    _connection: http.client.HTTPConnection | None = None

    def connect(self, session: Session) -> None:
        """See AskingUser. The connection is made with the first request."""
        self._address = session.http_address

    def on_stop(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.close()

    def send(self, question: Question, timeout_s: float) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address)
        self._connection.timeout = timeout_s
        if self._connection.sock:
            self._connection.sock.settimeout(timeout_s)
        headers = {"content-type": "application/json", "x-request-timeout-ms": str(ceil(timeout_s * 1000))}
        try:
            self._connection.request("POST", self.way.path.format(question.model), question.body, headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        check_http(response.status, body)
        return len(body)


class RestInferUser(RestUser):
    """A client of the Open Inference Protocol over HTTP."""

    way = WAYS["rest-infer"]


USERS: dict[str, type[AskingUser]] = {
    user.way.name: user for user in (PredictUser, StreamUser, InferUser, RestUser, RestInferUser)
}


def _code_of(error: Exception | None) -> grpc.StatusCode | None:
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, Refused):
        return error.code
    return error.code() if isinstance(error, grpc.RpcError) else None


def _short(error: Exception | None) -> Exception | None:
    """With a text of one line and no numbers, so that equal failures are counted together."""
    if isinstance(error, grpc.RpcError):
        error = Refused(error.code(), (error.details() or "").splitlines()[0] if error.details() else "")
    return None if error is None else Failed(_NUMBERS.sub("…", str(error)))
