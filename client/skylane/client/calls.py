"""The logic of calls: which messages are sent in which order, what is retried, what is cached.

Nothing here opens a connection or waits. Each call is a generator that yields one step at a time, an `Invoke`, a
`Pause` or an `Acquire`; `Client` and `AsyncClient` execute the steps, and send the reply or throw the error into the
generator. So both clients share the logic, and it is tested without a network.
"""

import math
import numbers
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from google.protobuf.wrappers_pb2 import StringValue

from skylane.client import channel
from skylane.client.decoding import Prediction, decode
from skylane.client.encoding import (
    Inputs,
    Request,
    check_choice,
    encode,
    read,
    some_of,
    why_extra_columns,
    why_no_columns,
    without_inputs,
)
from skylane.client.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OutcomesRefused,
    Overloaded,
    SkylaneError,
    Unavailable,
)
from skylane.client.outcomes import OutcomeReceipt, Outcomes, receipt_of
from skylane.client.schema import Model, ModelStatus, model_of, model_statuses
from skylane.v1 import models_pb2
from skylane.v1.prediction_pb2 import PredictRequest

T = TypeVar("T")


@dataclass(frozen=True)
class Invoke:
    """Step: send the request; the result is the reply."""

    method: channel.Method[Any, Any]
    request: Any
    timeout_s: float | None


@dataclass(frozen=True)
class Pause:
    """Step: wait."""

    seconds: float


class Lock(Protocol):
    """The common interface of threading.Lock and asyncio.Lock."""

    def release(self) -> None:
        """Release the lock."""


@dataclass(frozen=True)
class Acquire:
    """Step: acquire the lock; the result is whether that succeeded in time."""

    lock: Any
    timeout_s: float | None


Step: TypeAlias = Invoke | Pause | Acquire
Steps: TypeAlias = Generator[Step, Any, T]

Choice = tuple[str, int | None, str | None]
"""Model, version, label: the key of a cached schema."""

SCHEMAS_MAX: Final = 1000

_MISNAMED: Final = ("not known", "this model has none")
"""Parts of servers' messages about unknown names; if none occurs, callers see the server's message unchanged."""

YEAR_S: Final = 365 * 86400.0
"""Longer timeouts count as none: gRPC's deadlines overflow into the past at about 1e10 seconds."""


def bounded(timeout_s: Any) -> float:
    """The timeout; infinite if it is longer than a year. Raises TypeError and ValueError for invalid ones."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, numbers.Real):
        raise TypeError(f"timeout_s is {timeout_s!r}: expected a number of seconds, such as 5.0")
    seconds = float(timeout_s)
    if math.isnan(seconds):
        raise ValueError("timeout_s is NaN: expected a number of seconds; math.inf waits for ever")
    return math.inf if seconds > YEAR_S else seconds


def stream_timeout(timeout_s: float) -> float | None:
    """The timeout of a whole stream for grpc: None if there is none."""
    seconds = bounded(timeout_s)
    return None if seconds == math.inf else seconds


class Calls:
    """The calls of one client, and its cached schemas. Safe to use from several threads.

    `room` is a semaphore that a call must hold to send something; None if there is no limit.
    """

    def __init__(
        self,
        timeout_s: float,
        retry_overload: int,
        make_lock: Callable[[], Lock],
        room: Lock | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._timeout_s, self._retry_overload = bounded(timeout_s), retry_overload
        self._clock, self._rng = clock, rng or random.Random()
        self._schemas: dict[Choice, Model] = {}
        self._make_lock, self._room = make_lock, room
        self._fetching: dict[Choice, Lock] = {}

    def deadline(self, timeout_s: float | None) -> float:
        """The deadline of a call that begins now; None stands for the client's default timeout."""
        return self._clock() + (self._timeout_s if timeout_s is None else bounded(timeout_s))

    def predict(
        self, request: Request, timeout_s: float | None = None, retry_overload: int | None = None
    ) -> Steps[Prediction]:
        """Answer one request.

        If a request that used a cached schema is refused, and the schema has changed meanwhile, it is sent once more:
        a new version of the model may take other columns.
        """
        deadline = self.deadline(timeout_s)
        inputs = read(request.data)
        choice = (request.model, request.version, request.label)
        if not inputs.need_schema:
            try:
                reply = yield from self._send(encode(inputs, request, None), deadline, retry_overload)
            except InvalidInput as error:
                yield from self._explain(error, inputs, choice, deadline)
                raise
            return decode(reply)
        remembered = self._schemas.get(choice)
        if remembered is not None:
            try:
                message = encode(inputs, request, remembered)
                reply = yield from self._send(message, deadline, retry_overload)
                return decode(reply)
            except (InvalidInput, NotFound, TypeError, ValueError):
                if (yield from self._schema(choice, deadline, stale=remembered)) == remembered:
                    raise
        message = encode(inputs, request, (yield from self._schema(choice, deadline)))
        reply = yield from self._send(message, deadline, retry_overload)
        return decode(reply)

    def message(self, request: Request, deadline: float) -> Steps[PredictRequest]:
        """The message for one request of a stream; fetches the schema if it is needed."""
        inputs = read(request.data)
        if not inputs.need_schema:
            return encode(inputs, request, None)
        choice = (request.model, request.version, request.label)
        try:
            schema = yield from self._schema(choice, deadline)
        except NotFound:  # sent anyway: the server then refuses this request alone, and in order
            return without_inputs(request)
        return encode(inputs, request, schema)

    def forget(self, request: Request) -> None:
        """Fetch the schema again next time."""
        self._schemas.pop((request.model, request.version, request.label), None)

    def record_outcomes(self, outcomes: Outcomes, timeout_s: float | None = None) -> Steps[OutcomeReceipt]:
        """Record outcomes, in several requests if there are many. Repeating it has no further effect."""
        deadline, receipt = self.deadline(timeout_s), OutcomeReceipt()
        for start, request in outcomes.requests():
            receipt += receipt_of((yield from self._invoke(channel.RECORD_OUTCOMES, request, deadline)), start)
        if receipt.refused:
            raise OutcomesRefused(receipt)
        return receipt

    def model(
        self, name: str, version: int | None = None, label: str | None = None, timeout_s: float | None = None
    ) -> Steps[Model]:
        """Fetch the schema of one version, and cache it."""
        check_choice(name, version, label)
        return (yield from self._fetch((name, version, label), self.deadline(timeout_s)))

    def models(self, timeout_s: float | None = None) -> Steps[tuple[ModelStatus, ...]]:
        """Fetch the list of models."""
        reply = yield from self._invoke(channel.LIST_MODELS, models_pb2.ListModelsRequest(), self.deadline(timeout_s))
        return model_statuses(reply)

    def health(self, model: str | None = None, timeout_s: float | None = None) -> Steps[channel.Health]:
        """Call the health service; if it does not know this model, list the models, which its error does not name."""
        deadline = self.deadline(timeout_s)
        try:
            return (yield from self._health(model, deadline))
        except NotFound as error:
            try:
                reply = yield from self._invoke(channel.LIST_MODELS, models_pb2.ListModelsRequest(), deadline)
            except SkylaneError:
                raise error from None
            names = [status.name for status in model_statuses(reply)]
            if model in names:
                raise NotFound(f"no version of {model!r} is ready") from error
            raise NotFound(f"there is no model {model!r}; there are: {some_of(names)}") from error

    def ready(self, model: str | None = None, timeout_s: float | None = None) -> Steps[bool]:
        """Call the health service; a server that cannot be reached, or has no such model, is not ready."""
        try:
            return (yield from self._health(model, self.deadline(timeout_s))) == "SERVING"
        except (Unavailable, NotFound, DeadlineExceeded):
            return False

    def _health(self, model: str | None, deadline: float) -> Steps[channel.Health]:
        reply = yield from self._invoke(channel.HEALTH, StringValue(value=model or ""), deadline)
        return channel.HEALTH_OF.get(reply.value, "UNKNOWN")

    def _explain(self, error: InvalidInput, inputs: Inputs, choice: Choice, deadline: float) -> Steps[None]:
        """Raise a shorter message for unknown names: the server's own message lists all names of the model."""
        if not any(sign in error.detail for sign in _MISNAMED):
            return  # a wrong value, for which no schema is needed
        try:
            model = yield from self._schema(choice, deadline)
        except SkylaneError:
            return
        reason = why_no_columns(inputs, model) or why_extra_columns(inputs, model)
        if reason:
            raise InvalidInput(reason) from error

    def _schema(self, choice: Choice, deadline: float, stale: Model | None = None) -> Steps[Model]:
        """The cached schema unless it is `stale`; else fetched, once for all calls that are waiting for it."""
        schema = self._schemas.get(choice)
        if schema is not None and schema is not stale:
            return schema
        lock = self._fetching.setdefault(choice, self._make_lock())
        if not (yield Acquire(lock, self._left(deadline))):
            raise DeadlineExceeded("the timeout passed before the model's metadata was requested")
        try:
            schema = self._schemas.get(choice)
            if schema is None or schema is stale:
                schema = yield from self._fetch(choice, deadline)
            return schema
        finally:
            lock.release()
            self._fetching.pop(choice, None)

    def _fetch(self, choice: Choice, deadline: float) -> Steps[Model]:
        name, version, label = choice
        query = models_pb2.GetModelRequest(model=name)
        if version is not None:
            query.version = version
        elif label is not None:
            query.label = label
        reply = yield from self._invoke(channel.GET_MODEL, query, deadline)
        if len(self._schemas) >= SCHEMAS_MAX:
            self._schemas.clear()
        schema = self._schemas[choice] = model_of(reply)
        return schema

    def _send(self, message: PredictRequest, deadline: float, retry_overload: int | None) -> Steps[Any]:
        """Predict; if the queue is full, retry after the pause that the server asks for, within the limits."""
        tries = self._retry_overload if retry_overload is None else retry_overload
        while True:
            try:
                return (yield from self._invoke(channel.PREDICT, message, deadline))
            except Overloaded as error:
                # Randomly longer, never shorter, so that callers that were refused together do not retry together.
                pause_s = (error.retry_after_s or 0.0) * (1 + self._rng.random())
                if tries <= 0 or self._clock() + pause_s >= deadline:
                    raise
                tries -= 1
                yield Pause(pause_s)

    def _invoke(self, method: channel.Method[Any, Any], request: Any, deadline: float) -> Steps[Any]:
        if self._room is None:
            return (yield Invoke(method, request, self._left(deadline)))
        if not (yield Acquire(self._room, self._left(deadline))):
            raise DeadlineExceeded("the timeout passed while max_in_flight other calls were in flight")
        try:
            return (yield Invoke(method, request, self._left(deadline)))
        finally:
            self._room.release()

    def _left(self, deadline: float) -> float | None:
        """Seconds until the deadline; None if there is none. Raises DeadlineExceeded if it has passed."""
        if deadline == math.inf:
            return None
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("the timeout passed before the request was sent")
        return left_s
