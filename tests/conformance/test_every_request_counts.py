"""Every request that is answered is counted once: whatever is wrong with it, and whoever refuses it."""

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from skylane.server.core.settings import Transport
from support import models
from support.calls import PREDICT, STREAM, ask, features, open_channel, raw
from support.http import Http, infer, tensor
from support.security import section
from support.server import serving

Labels = tuple[str, str, str, str]
"""Model, version, protocol, status."""

TOKEN: Final = "alice"
ONE: Final = ask("linear", features=features(1)).SerializeToString()
NARROW: Final = ask("linear", features=features(1, 19)).SerializeToString()
BODY: Final = infer(tensor("features", features(1)))
LARGE: Final = bytes(2**20 + 1)


class Clients:
    """One connection of each kind."""

    def __init__(self, address: str, http: Http) -> None:
        self.channel, self.http = open_channel(address), http
        self.address = address

    def ask(self, payload: bytes, path: str = PREDICT, token: str = TOKEN, **more: Any) -> None:
        """One call over gRPC; its answer is nobody's business here."""
        with contextlib.suppress(grpc.RpcError):
            raw(self.channel, path)(payload, timeout=60, metadata=(("authorization", f"Bearer {token}"),), **more)

    def stream(self, *payloads: bytes) -> None:
        """One stream over gRPC."""
        method = self.channel.stream_stream(STREAM, request_serializer=bytes, response_deserializer=bytes)
        list(method(iter(payloads), timeout=60, metadata=(("authorization", f"Bearer {TOKEN}"),)))

    def post(self, path: str, body: Any, token: str = TOKEN) -> None:
        """One request over HTTP."""
        self.http.post(path, body, authorization=f"Bearer {token}")

    def say(self, text: bytes) -> None:
        """What is not HTTP."""
        with socket.create_connection(("127.0.0.1", self.http.connection.port), 60) as sock:
            sock.sendall(text)
            while sock.recv(4096):
                pass


NONE: Final = ("", "")
LINEAR: Final = ("linear", "1")
Case = tuple[Callable[[Clients], None], Mapping[Labels, int]]
"""What to send, and what that adds to the metrics."""

CASES: Final[Mapping[str, Case]] = {
    "an answer": (lambda to: to.ask(ONE), {(*LINEAR, "skylane_grpc", "OK"): 1}),
    "bytes that are no message": (
        lambda to: to.ask(b"\xff\xff"), {(*NONE, "skylane_grpc", "INVALID_ARGUMENT"): 1}
    ),
    "no message of another protocol": (
        lambda to: to.ask(b"\xff\xff", "/inference.GRPCInferenceService/ModelInfer"),
        {(*NONE, "oip_grpc", "INVALID_ARGUMENT"): 1},
    ),
    "an unknown model": (
        lambda to: to.ask(ask("x" * 1000, features=features(1)).SerializeToString()),
        {(*NONE, "skylane_grpc", "PERMISSION_DENIED"): 1},
    ),
    "an unknown version": (
        lambda to: to.ask(b"\x0a\x06linear\x10\x07"), {(*NONE, "skylane_grpc", "NOT_FOUND"): 1}
    ),
    "the wrong width": (lambda to: to.ask(NARROW), {(*LINEAR, "skylane_grpc", "INVALID_ARGUMENT"): 1}),
    "rows on which the model fails": (
        lambda to: to.ask(ask("touchy", text=np.array([["x"]], object)).SerializeToString()),
        {("touchy", "1", "skylane_grpc", "INTERNAL"): 1},
    ),
    "a message too large": (lambda to: to.ask(LARGE), {(*NONE, "skylane_grpc", "RESOURCE_EXHAUSTED"): 1}),
    "a stranger": (lambda to: to.ask(ONE, token="mallory"), {(*NONE, "skylane_grpc", "UNAUTHENTICATED"): 1}),
    "a method that is not there": (
        lambda to: to.ask(b"", "/skylane.v1.PredictionService/Guess"), {(*NONE, "grpc", "UNIMPLEMENTED"): 1}
    ),
    "a stranger at another method": (
        lambda to: to.ask(b"", "/inference.GRPCInferenceService/ServerMetadata", token="mallory"),
        {(*NONE, "grpc", "UNAUTHENTICATED"): 1},
    ),
    "a method that answers": (
        lambda to: to.ask(b"", "/inference.GRPCInferenceService/ServerLive"), {(*NONE, "grpc", "OK"): 1}
    ),
    "a stream of messages, each a request": (
        lambda to: to.stream(ONE, b"\xff", NARROW),
        {
            (*LINEAR, "skylane_grpc", "OK"): 1,
            (*NONE, "skylane_grpc", "INVALID_ARGUMENT"): 1,
            (*LINEAR, "skylane_grpc", "INVALID_ARGUMENT"): 1,
        },
    ),
    "an answer over HTTP": (
        lambda to: to.post("/v2/models/linear/infer", BODY), {(*LINEAR, "oip_http", "OK"): 1}
    ),
    "a path that is not there": (lambda to: to.post("/v3", None), {(*NONE, "http", "UNIMPLEMENTED"): 1}),
    "a method that a path has not": (
        lambda to: to.post("/v2/health/live", None), {(*NONE, "http", "UNIMPLEMENTED"): 1}
    ),
    "an unknown version over HTTP": (
        lambda to: to.post("/v2/models/linear/versions/7/infer", BODY), {(*NONE, "oip_http", "NOT_FOUND"): 1}
    ),
    "a body that is no JSON": (
        lambda to: to.post("/v1/models/linear:predict", b"{"), {(*NONE, "v1_http", "INVALID_ARGUMENT"): 1}
    ),
    "a body that does not fit the model": (
        lambda to: to.post("/v1/models/linear:predict", {"instances": [[1.0]]}),
        {(*LINEAR, "v1_http", "INVALID_ARGUMENT"): 1},
    ),
    "a body too large": (
        lambda to: to.post("/v2/models/linear/infer", LARGE), {(*NONE, "oip_http", "RESOURCE_EXHAUSTED"): 1}
    ),
    "a stranger over HTTP": (
        lambda to: to.post("/v2/models/linear/infer", BODY, token="mallory"),
        {(*NONE, "oip_http", "UNAUTHENTICATED"): 1},
    ),
    "what is not HTTP": (lambda to: to.say(b"hello\r\n\r\n"), {(*NONE, "http", "INVALID_ARGUMENT"): 1}),
}  # fmt: skip
OF_NATIVE: Final[Mapping[str, Case]] = {
    "a message whose compression nobody named": (
        lambda to: _send_by_hand(to.address, b"\1" + struct.pack(">I", 1) + b"x"),
        {(*NONE, "skylane_grpc", "INTERNAL"): 1},
    ),
    "a message cut short": (
        lambda to: _send_by_hand(to.address, b"\0" + struct.pack(">I", 9) + b"x"),
        {(*NONE, "skylane_grpc", "INTERNAL"): 1},
    ),
    "a content type that is not gRPC's": (
        lambda to: _send_by_hand(to.address, b"", content_type="text/plain"),
        {(*NONE, "skylane_grpc", "UNKNOWN"): 1},
    ),
}
"""Of grpcio, only its C core sees these."""


def _send_by_hand(address: str, data: bytes, content_type: str = "application/grpc") -> None:
    """One request in frames of our own, and all that comes back until it has ended."""
    from hpack import Encoder

    from skylane.server.grpc.http2 import frames
    from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, Kind

    fields = [
        (":method", "POST"), (":scheme", "http"), (":path", PREDICT), (":authority", "here"),
        ("content-type", content_type), ("authorization", f"Bearer {TOKEN}"),
    ]  # fmt: skip
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 60) as sock:
        sock.sendall(
            frames.PREFACE
            + frames.settings({})
            + frames.frame(Kind.HEADERS, END_HEADERS, 1, Encoder().encode(fields))
            + frames.frame(Kind.DATA, END_STREAM, 1, data)
            + frames.frame(Kind.PING, 0, 0, bytes(8))
        )
        got = b""
        while bytes((Kind.PING, frames.ACK)) + bytes(12) not in got:
            got += sock.recv(4096)


@pytest.fixture(scope="module")
def clients(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.touchy(root)
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(section(TOKEN, "predict", "metrics", models=("linear", "touchy")))
    with (
        serving(root, transport, http_port=0, tokens=tokens, max_message_mb=1) as running,
        Http(running.http_port) as http,
    ):
        made = Clients(running.address, http)
        with made.channel:
            yield made


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_the_sum_over_all_statuses_is_what_was_sent(
    clients: Clients, transport: Transport, drawn: st.DataObject
) -> None:
    cases = {**CASES, **(OF_NATIVE if transport == "native" else {})}
    names = drawn.draw(st.lists(st.sampled_from(sorted(cases)), max_size=12))
    _holds(clients, [cases[name] for name in names])


def test_each_counts_once_under_its_own_labels(clients: Clients, transport: Transport) -> None:
    _holds(clients, [*CASES.values(), *(OF_NATIVE.values() if transport == "native" else ())])


def _holds(clients: Clients, cases: list[Case]) -> None:
    expected = _counted(clients)
    for send, adds in cases:
        send(clients)
        expected.update(adds)
    for _ in range(100):  # what comes after an answer may be counted a moment later
        expected.update({(*NONE, "http", "OK"): 1})  # the request that asks for the metrics
        found = _counted(clients)
        if found.total() >= expected.total():
            break
    assert found == expected


def _counted(clients: Clients) -> Counter[Labels]:
    page = clients.http.get("/metrics", authorization=f"Bearer {TOKEN}").body.decode()
    found: Counter[Labels] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "skylane_requests_total":
                told = sample.labels
                found[told["model"], told["version"], told["protocol"], told["status"]] += int(sample.value)
    return found
