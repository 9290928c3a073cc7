"""The blocking client. calls.py has the logic of each call; this module executes its steps with grpc."""

import math
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from skylane.client.calls import Acquire, Calls, Pause, Step, Steps, stream_timeout
from skylane.client.channel import MAX_MESSAGE_BYTES, PREDICT_STREAM, UNARY, Health, channel_options, check_target
from skylane.client.decoding import Prediction
from skylane.client.encoding import Request
from skylane.client.errors import SkylaneError, error_of_rpc
from skylane.client.outcomes import OutcomeReceipt, Outcomes
from skylane.client.schema import Model, ModelStatus
from skylane.client.streams import Answer, InOrder, Ledger, schema_may_be_old
from skylane.v1.prediction_pb2 import PredictRequest
from skylane.version import __version__

T = TypeVar("T")


class Client:
    """A client that blocks until the server answers. Share one among threads and keep it: connecting is slow.

        with Client("localhost:8500", timeout_s=2.0) as client:  # seconds for each call
            prediction = client.predict("flights_late", frame)  # a data frame with the model's columns
            prediction.probabilities  # (rows, classes)
            for prediction in client.predict_many("flights_late", frames):  # one stream, answers in order
                ...
            for request_id, answer in client.predict_stream([("flights_late", frame), ("digits", pixels)]):
                ...  # as each is finished: a Prediction, or the SkylaneError of that request

    `target` is "host:port", or "dns:///host:port" to spread calls over all addresses of the name.
    `timeout_s` is the default timeout of a call, including its retries; with `math.inf` there is none.
    `retry_overload`: how often a call is retried if the model's queue is full, after the pause that the server asks for
    and within the timeout. UNAVAILABLE is always tried up to 3 times, any other error only once.
    During an outage the client tries to connect about once a second, so calls succeed again within 2 s after the server
    is ready. Only if the name in `target` does not resolve meanwhile, it may take up to 2 minutes.
    `credentials` turns TLS on; `metadata` is sent with every call; `max_message_bytes` bounds a message in either
    direction; `options` are further options of the gRPC channel.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = 5.0,
        retry_overload: int = 0,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        check_target(target)
        self.target = target
        self._calls = Calls(timeout_s, retry_overload, threading.Lock)
        self._metadata = tuple(metadata)
        all_options = channel_options(target, __version__, max_message_bytes, options)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, all_options)
        else:
            self._channel = grpc.secure_channel(target, credentials, all_options)
        self._unary = {
            method.path: self._channel.unary_unary(
                method.path, method.request.SerializeToString, method.reply.FromString
            )
            for method in UNARY
        }
        self._stream = self._channel.stream_stream(
            PREDICT_STREAM.path, PREDICT_STREAM.request.SerializeToString, PREDICT_STREAM.reply.FromString
        )

    def predict(
        self,
        model: str,
        data: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        request_id: str = "",
        retry_overload: int | None = None,
    ) -> Prediction:
        """Answer rows of features with the model's outputs.

        `data` is a data frame of pandas or polars, or a table of pyarrow; a row of pandas, `frame.iloc[0]`; a dict of
        column → list, array or single value; a list of dicts, one for each row; a NumPy structured array; a dict of
        tensor name → array; or one array (rows, …), or list of rows, for a model with one tensor. None, NaN and
        pandas.NA are missing values. Column names are those that the model was trained with, in any order. Columns that
        the model does not take are refused; scikit-learn's ColumnTransformer would ignore them, and so would not
        notice a misspelt name of an optional column.

        `version` or `label` selects the version that answers, by default the latest that is ready; `outputs` are the
        names of those to return, by default all.

        Raises TypeError and ValueError for data that cannot be sent, and SkylaneError if the call fails:
        InvalidInput, NotFound, Overloaded, DeadlineExceeded, Unavailable, Internal.
        """
        request = Request(model=model, data=data, version=version, label=label, outputs=outputs, request_id=request_id)
        return self._run(self._calls.predict(request, timeout_s, retry_overload))

    def predict_stream(
        self, requests: Iterable[Request | tuple[str, Any]], *, timeout_s: float = math.inf
    ) -> Generator[tuple[str, Answer], None, None]:
        """Send many requests over one call, and yield (request_id, Prediction or SkylaneError) as each is finished.

        `requests` are `Request`s or (model, data). They are read in a separate thread, as fast as the server accepts
        requests, so the iterable may wait for events or for answers. A request without a `request_id` gets its index,
        from 0, as text. A request that is refused is answered with its error, and the others continue. Errors that end
        the stream are raised: a broken connection, `timeout_s` for the whole stream, or an error in `requests` itself,
        which is raised after the answers to all requests that were sent before it.
        """
        ledger, failures = Ledger(), list[Exception]()

        def outgoing() -> Iterator[PredictRequest]:
            try:
                for item in requests:
                    yield self._run(self._calls.message(ledger.admit(item), self._calls.deadline(None)))
                ledger.all_sent = True
            except Exception as error:  # raised below, in the caller's thread; grpc would only log it
                failures.append(error)

        call = self._stream(outgoing(), timeout=stream_timeout(timeout_s), metadata=self._metadata)
        try:
            for reply in call:
                request, answer = ledger.settle(reply)
                if schema_may_be_old(answer):
                    self._calls.forget(request)
                yield request.request_id, answer
        except grpc.RpcError as error:
            raise error_of_rpc(error) from error
        finally:
            call.cancel()
        if failures:
            raise failures[0]
        ledger.close()

    def predict_many(
        self,
        model: str,
        items: Iterable[Any],
        *,
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] = (),
        window: int = 64,
        timeout_s: float = math.inf,
        return_errors: bool = False,
    ) -> Generator[Any, None, None]:
        """Answer all `items`, each `data` as in `predict`, in order over one stream.

        At most `window` items are read ahead of the answer that is yielded. The first SkylaneError is raised; with
        `return_errors`, errors are yielded in place of the answers.
        """
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        room, done = threading.Semaphore(window), threading.Event()

        def paced() -> Iterator[Request]:
            source = iter(items)
            while room.acquire() and not done.is_set():
                try:
                    data = next(source)
                except StopIteration:
                    return
                yield Request(model=model, data=data, version=version, label=label, outputs=outputs)

        ordered = InOrder[Answer]()
        stream = self.predict_stream(paced(), timeout_s=timeout_s)
        try:
            for request_id, answer in stream:
                for ready in ordered.add(int(request_id), answer):
                    if isinstance(ready, SkylaneError) and not return_errors:
                        raise ready
                    room.release()
                    yield ready
        finally:
            done.set()
            room.release()  # tells the thread that reads `items` to stop
            stream.close()

    def record_outcomes(
        self,
        model: str,
        prediction_ids: str | Iterable[str] | None = None,
        *,
        rows: int | Iterable[int] | None = None,
        entities: str | Iterable[str] | None = None,
        event_at: datetime | Iterable[datetime] | None = None,
        labels: Any = None,
        values: Any = None,
        happened_at: datetime | Iterable[datetime] | None = None,
        known_at: datetime | Iterable[datetime] | None = None,
        timeout_s: float | None = None,
    ) -> OutcomeReceipt:
        """Record what became true after predictions; returns when the server has it on its disk.

            client.record_outcomes("flights_late", prediction.prediction_id, labels=["1", "0"])  # rows 0 and 1
            client.record_outcomes("flights_late", ids, rows=rows, labels=late, known_at=landed)
            client.record_outcomes("flights_late", entities=tails, event_at=departures, labels=late)

        `prediction_ids` and `rows` name the predictions: one id for rows 0, 1, …, or an id for each outcome, whose rows
        are 0 if none are given. Or `entities` and `event_at` do. `labels` are true classes, text or whole numbers, and
        `values` true numbers. `happened_at` and `known_at` say when it became true and when you knew it; without them,
        now. A single value stands for all outcomes. Times have a time zone. Recording again what is recorded changes
        nothing; something else with a later `known_at` corrects it.

        Raises TypeError and ValueError for what cannot be sent; OutcomesRefused if the server refuses some of them, the
        others being recorded; and SkylaneError: FailedPrecondition if the server has no --journal, PermissionDenied if
        the token lacks the action `outcome`.
        """
        outcomes = Outcomes(
            model, prediction_ids, rows=rows, entities=entities, event_at=event_at, labels=labels, values=values,
            happened_at=happened_at, known_at=known_at,
        )  # fmt: skip
        return self._run(self._calls.record_outcomes(outcomes, timeout_s))

    def models(self, *, timeout_s: float | None = None) -> tuple[ModelStatus, ...]:
        """Every model of the server, with the states of its versions and its labels."""
        return self._run(self._calls.models(timeout_s))

    def model(
        self, name: str, version: int | None = None, label: str | None = None, *, timeout_s: float | None = None
    ) -> Model:
        """Inputs and outputs of one version: the requested one, or the latest that is ready. Raises NotFound."""
        return self._run(self._calls.model(name, version, label, timeout_s))

    def health(self, model: str | None = None, *, timeout_s: float | None = None) -> Health:
        """The state of the server or of one model, from the gRPC health service. Raises NotFound and Unavailable."""
        return self._run(self._calls.health(model, timeout_s))

    def ready(self, model: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Whether the server, or this model on it, accepts requests now. False if it cannot be reached."""
        return self._run(self._calls.ready(model, timeout_s))

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.target!r})"

    def _run(self, steps: Steps[T]) -> T:
        """Execute the steps of one call."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = self._carry_out(step)
                except grpc.RpcError as error:
                    step = steps.throw(error_of_rpc(error))
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()  # releases the call's locks, also after Ctrl-C

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Acquire):
            return step.lock.acquire(timeout=-1 if step.timeout_s is None else step.timeout_s)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self._unary[step.method.path](step.request, timeout=step.timeout_s, metadata=self._metadata)
