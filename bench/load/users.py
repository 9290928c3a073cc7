"""Locust's users: each holds a connection, takes the next request of its process's session, and times it."""

import http.client
import re
import time
from typing import Any

import grpc
from locust import User, constant, task

from bench.load.requests import Question
from bench.load.session import Session, address_of
from bench.load.wire import WAYS, Refused, check_http, check_streamed

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
    wait_time = constant(0)
    way = WAYS["predict"]

    @task
    def ask(self) -> None:
        """The next request, at its time, and what became of it."""
        session: Session | None = getattr(self.environment, "session", None)
        if session is None:  # the run is about to be given up
            time.sleep(IDLE_S)
            return
        due_at = time.perf_counter()
        if session.arrivals:
            due_at = session.arrivals.take(due_at)
            time.sleep(max(due_at - time.perf_counter(), 0))
        question = session.draw(self.way)
        error, size = None, 0
        try:
            size = self.send(question, session.timeout_s)
        except (grpc.RpcError, Refused, OSError, http.client.HTTPException) as met:
            error = met
        self._report(question, time.perf_counter() - due_at, size, error)

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
            name = f"{question.name}, refused for overload"
        self.environment.events.request.fire(
            request_type=self.way.name,
            name=name,
            response_time=took_s * 1000,
            response_length=size,
            exception=_short(error),
            context={"judged": question.judged},
        )


class PredictUser(AskingUser):
    """An internal service that calls Predict."""

    def on_start(self) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(address_of(self.environment.host), GRPC_OPTIONS)
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(self.way.path)

    def on_stop(self) -> None:
        """Hang up."""
        self._channel.close()

    def send(self, question: Question, timeout_s: float) -> int:
        """See AskingUser."""
        return len(self._call(question.body, timeout=timeout_s))


class InferUser(PredictUser):
    """A client of the Open Inference Protocol."""

    way = WAYS["infer"]


class StreamUser(AskingUser):
    """A service that keeps a PredictStream open and asks one thing at a time."""

    way = WAYS["stream"]

    def on_start(self) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(address_of(self.environment.host), GRPC_OPTIONS)
        self._open: _Conversation | None = None

    def on_stop(self) -> None:
        """Hang up."""
        self._channel.close()

    def send(self, question: Question, timeout_s: float) -> int:
        """See AskingUser."""
        if self._open is None:
            self._open = _Conversation(self._channel)
        try:
            reply = self._open.say(question.body, timeout_s)
        except grpc.RpcError:
            self._open = None  # the stream is over: the next request begins another
            raise
        check_streamed(reply)
        return len(reply)


class _Conversation:
    """One stream, used as question and answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        from gevent.queue import SimpleQueue

        self._questions: Any = SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(WAYS["stream"].path)
        self._replies = call(iter(self._questions.get, None))

    def say(self, message: bytes, timeout_s: float) -> bytes:
        """The reply. Raises grpc.RpcError at the end of the stream, and when it takes too long."""
        from gevent import spawn_later

        alarm = spawn_later(timeout_s, self._replies.cancel)  # a stream's messages have no deadlines of their own
        try:
            self._questions.put(message)
            reply: bytes = next(self._replies)
        except StopIteration:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the server ended the stream") from None
        finally:
            alarm.kill(block=False)
        return reply


class RestUser(AskingUser):
    """A client of JSON over HTTP."""

    way = WAYS["rest"]

    def on_start(self) -> None:
        """Know where to ask; the connection is made with the first request."""
        self._connection: http.client.HTTPConnection | None = None

    def on_stop(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.close()

    def send(self, question: Question, timeout_s: float) -> int:
        """See AskingUser."""
        if self._connection is None:
            address = address_of(self.environment.parsed_options.http)
            self._connection = http.client.HTTPConnection(address, timeout=timeout_s)
        headers = {"content-type": "application/json", "x-request-timeout-ms": str(round(timeout_s * 1000))}
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


USERS: dict[str, type[AskingUser]] = {
    "predict": PredictUser,
    "stream": StreamUser,
    "infer": InferUser,
    "rest": RestUser,
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
