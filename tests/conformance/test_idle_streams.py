"""Streams that say nothing, as many as their connections may have: what probes and operators ask is answered still."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skylane.server.codecs.descriptor_pool import message as message_class
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.grpc.http2.health import WATCH
from skylane.v1 import models_pb2, models_pb2_grpc
from support import foreign, models
from support.calls import ask, features, open_channel, predict
from support.h2 import Client, message
from support.server import serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WAIT_S = 30.0


@contextlib.contextmanager
def idle(address: str, path: str, connections: int) -> Iterator[None]:
    """A thousand streams on each connection, which are open for as long as the block lasts."""
    host, port = address.rsplit(":", 1)
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            client, sock = Client(), stack.enter_context(socket.create_connection((host, int(port))))
            said = Client.PREFACE
            for stream_id in range(1, 2001, 2):
                said += client.head(stream_id, path)
                said += client.data(stream_id, message(b""), ends=False) if path == WATCH else b""
            sock.sendall(said)
            sock.recv(1)
        yield


@pytest.mark.parametrize("path", [pytest.param(WATCH, id="watching"), pytest.param(REFLECTION, id="reflection")])
def test_idle_streams_keep_nobody_from_an_answer(tmp_path: Path, transport: "Transport", path: str) -> None:
    models.linear(tmp_path)
    connections = 3 if transport == "native" else 1  # grpcio turns calls away that come faster than it takes them
    with (
        serving(tmp_path, transport) as server,
        idle(server.address, path, connections),
        open_channel(server.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S).status == 1
        assert next(health.Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S)).status == 1
        about: Any = models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]
        assert about.ListModels(models_pb2.ListModelsRequest(), timeout=WAIT_S).models[0].name == "linear"
        for name, request in (
            ("ServerLive", {}), ("ServerReady", {}), ("ModelReady", {"name": "linear"}), ("ServerMetadata", {}),
        ):  # fmt: skip
            assert foreign.call(channel, OIP, name)(message_class(f"inference.{name}Request")(**request))
        assert predict(channel)(ask("linear", features=features(1)), timeout=WAIT_S)


def test_our_own_front_says_of_what_there_is_too_much(tmp_path: Path) -> None:
    """Of calls that are passed on, 100 for each connection and 1000 for all."""
    models.linear(tmp_path)
    with (
        serving(tmp_path, "native") as server,
        idle(server.address, REFLECTION, 10),
        open_channel(server.address) as channel,
    ):
        metadata = foreign.call(channel, OIP, "ServerMetadata")
        with pytest.raises(grpc.RpcError) as refused:
            metadata(message_class("inference.ServerMetadataRequest")())
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1000 calls open beside predictions" in error.details()
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S).status == 1
