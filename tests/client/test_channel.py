"""How the client connects."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from grpc_health.v1 import health_pb2

from skylane.client import AsyncClient, Client
from skylane.client.channel import HEALTH_OF, UNARY, channel_options, check_target, service_config
from skylane.v1 import models_pb2, outcomes_pb2, prediction_pb2

FakeServer = Any
"""The class of conftest.py, which tests cannot import: there is no package here."""


def test_only_unavailable_is_tried_again() -> None:
    (method,) = service_config("localhost:8500")["methodConfig"]
    assert method["name"] == [{}], "every method"
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["retryPolicy"]["maxAttempts"] == 3


@pytest.mark.parametrize(
    ("target", "policy"),
    [
        pytest.param("dns:///skylane.example:8500", [{"round_robin": {}}], id="a DNS name: all its addresses in turn"),
        pytest.param("localhost:8500", None, id="one address"),
        pytest.param("unix:///run/skylane.sock", None, id="a socket"),
    ],
)
def test_load_balancing(target: str, policy: Any) -> None:
    assert service_config(target).get("loadBalancingConfig") == policy


@pytest.mark.parametrize(
    "target", ["localhost:8500", "[::1]:8500", "dns:///skylane.example:1", "dns:skylane:1", "unix:///run/skylane.sock"]
)
def test_targets(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        pytest.param(None, TypeError, "target is None: expected text, such as 'localhost:8500'", id="None"),
        pytest.param("skylane", ValueError, "'skylane' is not an address: expected HOST:PORT", id="no port"),
        pytest.param("dns:///skylane", ValueError, "expected HOST:PORT", id="a DNS name without a port"),
        pytest.param("skylane:http", ValueError, "expected HOST:PORT", id="a port in words"),
        pytest.param("skylane:70000", ValueError, "expected HOST:PORT", id="a port beyond the last"),
        pytest.param(":8500", ValueError, "expected HOST:PORT", id="no host"),
        pytest.param("::1:8500", ValueError, "expected HOST:PORT", id="IPv6 without brackets"),
        pytest.param("http://skylane:8500", ValueError, "is a URL: expected HOST:PORT", id="a URL"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_target(kind: Any, target: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refused:
        kind(target)
    assert says in str(refused.value)


def test_the_callers_options_win() -> None:
    listed = channel_options("x:1", "0.1", 5, [("grpc.keepalive_time_ms", 1)])
    options = dict(listed)
    assert len(options) == len(listed), "of two options with one name gRPC takes the first"
    assert options["grpc.keepalive_time_ms"] == 1
    assert options["grpc.max_receive_message_length"] == options["grpc.max_send_message_length"] == 5
    assert json.loads(options["grpc.service_config"]) == service_config("x:1")


def test_pauses_between_attempts_to_connect_are_short() -> None:
    """What comes of it: tests/client/test_outage.py."""
    options = dict(channel_options("x:1", "0.1", 5, ()))
    assert options["grpc.initial_reconnect_backoff_ms"] == 100
    assert options["grpc.max_reconnect_backoff_ms"] == 1000
    assert options["grpc.min_reconnect_backoff_ms"] == 5000, "the time that one attempt may take"
    assert options["grpc.dns_min_time_between_resolutions_ms"] == 1000
    assert options["grpc.keepalive_timeout_ms"] == 5000
    assert options["grpc.keepalive_time_ms"] >= 300_000, "servers answer more frequent pings with GOAWAY"


def test_methods_are_those_of_the_contract() -> None:
    services: list[Any] = [
        prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"],
        models_pb2.DESCRIPTOR.services_by_name["ModelService"],
        outcomes_pb2.DESCRIPTOR.services_by_name["OutcomeService"],
        health_pb2.DESCRIPTOR.services_by_name["Health"],
    ]
    paths = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert {method.path for method in UNARY} <= paths


@pytest.mark.parametrize("service", ["", "flights_late", "é" * 100])
def test_health_messages_are_on_the_wire_what_the_protocol_says(service: str) -> None:
    sent = StringValue(value=service).SerializeToString()
    assert sent == health_pb2.HealthCheckRequest(service=service).SerializeToString()
    for name, number in health_pb2.HealthCheckResponse.ServingStatus.items():
        received = Int32Value.FromString(health_pb2.HealthCheckResponse(status=number).SerializeToString())
        assert HEALTH_OF.get(received.value, "SERVICE_UNKNOWN") == name


def test_a_dns_target_connects(server: FakeServer) -> None:
    with Client(f"dns:///{server.address}") as client:
        assert client.ready()


def test_threads_share_a_client(server: FakeServer) -> None:
    with Client(server.address) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: client.predict("m", {"a": n})["a"][0], range(100)))
    assert answers == list(range(100))


@pytest.fixture
def secure_address() -> Iterator[str]:
    """A listener that takes only secure channels, with a Predict that answers nothing."""
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: prediction_pb2.PredictResponse(model="secret"),
        prediction_pb2.PredictRequest.FromString,
        prediction_pb2.PredictResponse.SerializeToString,
    )
    listener = grpc.server(ThreadPoolExecutor(1))
    listener.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("skylane.v1.PredictionService", {"Predict": handler}),)
    )
    port = listener.add_secure_port("localhost:0", grpc.local_server_credentials())
    listener.start()
    yield f"localhost:{port}"
    listener.stop(0).wait()


async def test_secure_channels(secure_address: str) -> None:
    credentials = grpc.local_channel_credentials()
    with Client(secure_address, credentials=credentials) as client:
        assert client.predict("m", {"a": 1}).model == "secret"
    async with AsyncClient(secure_address, credentials=credentials) as asynchronous:
        assert (await asynchronous.predict("m", {"a": 1})).model == "secret"
