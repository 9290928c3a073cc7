"""Tokens and TLS on the gRPC port, on both transports: who is let in, what they may do, and how both change."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from skylane.server.auth.tokens import hash_of
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.v1 import models_pb2, models_pb2_grpc
from support import models
from support.calls import ask, features, open_channel, predict, predict_stream
from support.security import Certificates, section
from support.server import RunningServer, serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

ASKS = "this server requires a valid bearer token (authorization: Bearer …)"
DENIES = "these credentials do not allow this"
Metadata = tuple[tuple[str, str], ...]
Method = Callable[[grpc.Channel, Metadata], object]


def bearing(token: str | None) -> Metadata:
    return () if token is None else (("authorization", f"Bearer {token}"),)


def call(model: str) -> Method:
    return lambda channel, metadata: predict(channel)(ask(model, features=features(1)), metadata=metadata, timeout=30)


def stream(channel: grpc.Channel, metadata: Metadata) -> object:
    replies = predict_stream(channel)(iter([ask("wine-red", features=features(1))]), metadata=metadata, timeout=30)
    return list(replies)


def list_models(channel: grpc.Channel, metadata: Metadata) -> models_pb2.ListModelsResponse:
    stub = models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]
    reply: models_pb2.ListModelsResponse = stub.ListModels(models_pb2.ListModelsRequest(), metadata=metadata)
    return reply


def get_model(model: str) -> Method:
    def method(channel: grpc.Channel, metadata: Metadata) -> object:
        stub = models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]
        return stub.GetModel(models_pb2.GetModelRequest(model=model), metadata=metadata)

    return method


def reflect(channel: grpc.Channel, metadata: Metadata) -> object:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    return list(stub.ServerReflectionInfo(iter([asked]), metadata=metadata))


def health(channel: grpc.Channel, metadata: Metadata) -> object:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(), metadata=metadata).status


def status_of(method: Method, channel: grpc.Channel, token: str | None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        method(channel, bearing(token))
    error: Any = refused.value
    return error.code(), error.details()


class TestTokens:
    """Each token is its own name."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory, transport: "Transport") -> Iterator[RunningServer]:
        root = tmp_path_factory.mktemp("models")
        models.linear(root, "wine-red")
        models.linear(root, "flights")
        tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
        tokens.write_text(
            section("caller", "predict", models=("wine-*",))
            + section("other", "predict", models=("flights",))
            + section("watcher", "metrics")
            + section("expired", "predict", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
        with serving(root, transport, tokens=tokens) as server:
            yield server

    @pytest.fixture
    def channel(self, server: RunningServer) -> Iterator[grpc.Channel]:
        with open_channel(server.address) as channel:
            yield channel

    @pytest.mark.parametrize("token", [None, "", "unknown", "expired", "caller2"])
    @pytest.mark.parametrize(
        "method",
        [
            pytest.param(call("wine-red"), id="predict"),
            pytest.param(call("nothing"), id="predict, no such model"),
            pytest.param(stream, id="stream"),
            pytest.param(list_models, id="list"),
            pytest.param(get_model("wine-red"), id="describe"),
            pytest.param(reflect, id="reflection"),
        ],
    )
    def test_who_is_not_known_is_told_nothing(self, channel: grpc.Channel, method: Method, token: str | None) -> None:
        assert status_of(method, channel, token) == (grpc.StatusCode.UNAUTHENTICATED, ASKS)

    @pytest.mark.parametrize("token", [None, "unknown", "caller"])
    def test_health_needs_no_token(self, channel: grpc.Channel, token: str | None) -> None:
        assert health(channel, bearing(token)) == health_pb2.HealthCheckResponse.SERVING

    @pytest.mark.parametrize(
        ("token", "method"),
        [
            pytest.param("caller", call("wine-red"), id="its model"),
            pytest.param("caller", stream, id="a stream for its model"),
            pytest.param("caller", get_model("wine-red"), id="about its model"),
            pytest.param("caller", reflect, id="reflection"),
            pytest.param("other", call("flights"), id="another caller's model"),
        ],
    )
    def test_what_a_token_allows(self, channel: grpc.Channel, token: str, method: Method) -> None:
        assert method(channel, bearing(token))

    @pytest.mark.parametrize(
        ("token", "method"),
        [
            pytest.param("caller", call("flights"), id="another's model"),
            pytest.param("caller", call("nothing"), id="none, and it does not learn that"),
            pytest.param("caller", get_model("flights"), id="about another's model"),
            pytest.param("watcher", call("wine-red"), id="a watcher calls"),
        ],
    )
    def test_what_a_token_does_not_allow(self, channel: grpc.Channel, token: str, method: Method) -> None:
        assert status_of(method, channel, token) == (grpc.StatusCode.PERMISSION_DENIED, DENIES)

    def test_a_list_names_the_models_of_the_token_alone(self, channel: grpc.Channel) -> None:
        assert [model.name for model in list_models(channel, bearing("caller")).models] == ["wine-red"]

    def test_callers_who_share_a_connection_and_a_turn_keep_their_own_rights(self, channel: grpc.Channel) -> None:
        method, sent = predict(channel), []
        for place in range(40):
            token, model = ("caller", "other", "unknown")[place % 3], ("wine-red", "flights")[place % 2]
            future = method.future(ask(model, features=features(1)), metadata=bearing(token), timeout=30)
            sent.append((token, model, future))
        for token, model, future in sent:
            right = {"caller": "wine-red", "other": "flights"}.get(token)
            expected = (
                grpc.StatusCode.UNAUTHENTICATED if right is None
                else grpc.StatusCode.OK if right == model
                else grpc.StatusCode.PERMISSION_DENIED
            )  # fmt: skip
            assert future.code() == expected, (token, model)


def test_a_token_that_is_withdrawn_holds_no_longer(tmp_path: Path, transport: "Transport") -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("first", "predict"))
    with serving(tmp_path / "models", transport, tokens=tokens) as server, open_channel(server.address) as channel:
        assert call("linear")(channel, bearing("first"))
        tokens.write_text(section("second", "predict"))
        while True:  # seen within two seconds
            with contextlib.suppress(grpc.RpcError):
                assert call("linear")(channel, bearing("second"))
                break
        while True:
            try:
                call("linear")(channel, bearing("first"))
            except grpc.RpcError:
                break


@pytest.mark.parametrize("method", ["PredictStream", "ModelStreamInfer", "reflection"])
@pytest.mark.parametrize("change", ["withdrawn", "expired"])
def test_a_stream_ends_with_its_token(tmp_path: Path, transport: "Transport", method: str, change: str) -> None:
    """Whether it says something or not, on both transports; who holds another token goes on."""
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("first", "predict") + "\n" + section("second", "predict"))
    done = threading.Event()

    def silent() -> Iterator[Any]:
        done.wait(60)
        yield from ()

    def opened(token: str) -> Any:
        metadata = bearing(token)
        if method == "PredictStream":
            return predict_stream(channel)(silent(), metadata=metadata)
        if method == "reflection":
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            return stub.ServerReflectionInfo(silent(), metadata=metadata)
        raw: Any = channel.stream_stream(f"/{OIP}/{method}")
        return raw(silent(), metadata=metadata)

    past = datetime(2020, 1, 1, tzinfo=UTC)
    left = section("first", "predict", expires_at=past) if change == "expired" else ""
    with serving(tmp_path / "models", transport, tokens=tokens) as server, open_channel(server.address) as channel:
        ending, going_on = opened("first"), opened("second")
        assert call("linear")(channel, bearing("first"))
        tokens.write_text(left + "\n" + section("second", "predict"))
        with pytest.raises(grpc.RpcError):
            next(ending)
        assert (ending.code(), ending.details()) == (grpc.StatusCode.UNAUTHENTICATED, ASKS)
        assert going_on.is_active()
        done.set()


def test_no_token_reaches_the_log(tmp_path: Path, transport: "Transport", caplog: pytest.LogCaptureFixture) -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("secret-caller", "predict"))
    with (
        caplog.at_level(logging.DEBUG, logger="skylane.server"),
        serving(tmp_path / "models", transport, tokens=tokens) as server,
        open_channel(server.address) as channel,
    ):
        assert call("linear")(channel, bearing("secret-caller"))
        assert status_of(call("linear"), channel, "secret-stranger")[0] == grpc.StatusCode.UNAUTHENTICATED
    assert "serving" in caplog.text
    assert "secret" not in caplog.text
    assert hash_of("secret-caller") not in caplog.text


def secure_channel(
    server: RunningServer, authority: trustme.CA, as_client_of: trustme.CA | None = None
) -> grpc.Channel:
    key = chain = None
    if as_client_of is not None:
        issued = as_client_of.issue_cert("client@example.org")
        key, chain = issued.private_key_pem.bytes(), b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), key, chain)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{server.address.rpartition(':')[2]}", credentials, options)


class TestTls:
    """The port speaks TLS alone."""

    def test_a_client_that_trusts_the_certificate(
        self,
        small_models: Path,
        transport: "Transport",
        certificates: Certificates,
        authorities: tuple[trustme.CA, trustme.CA],
    ) -> None:
        with serving(small_models, transport, **certificates.settings()) as server:
            with secure_channel(server, authorities[0]) as channel:
                assert call("linear")(channel, ())
                large = predict(channel)(ask("linear", features=features(8_000)), timeout=30)
                assert large.outputs[0].shape[0] == 8_000
                assert list_models(channel, ()).models
            with secure_channel(server, authorities[1]) as channel:
                assert status_of(call("linear"), channel, None)[0] == grpc.StatusCode.UNAVAILABLE
            with open_channel(server.address) as channel:
                assert status_of(call("linear"), channel, None)[0] == grpc.StatusCode.UNAVAILABLE

    def test_clients_need_a_certificate_by_the_right_authority(
        self,
        small_models: Path,
        transport: "Transport",
        certificates: Certificates,
        authorities: tuple[trustme.CA, trustme.CA],
    ) -> None:
        ours, theirs = authorities
        with serving(small_models, transport, **certificates.settings(mutual=True)) as server:
            with secure_channel(server, ours, as_client_of=ours) as channel:
                assert call("linear")(channel, ())
            for client_of in (None, theirs):
                with secure_channel(server, ours, as_client_of=client_of) as channel:
                    assert status_of(call("linear"), channel, None)[0] == grpc.StatusCode.UNAVAILABLE

    def test_new_connections_see_a_changed_certificate_and_old_ones_go_on(
        self,
        small_models: Path,
        transport: "Transport",
        certificates: Certificates,
        authorities: tuple[trustme.CA, trustme.CA],
    ) -> None:
        before, after = authorities
        with (
            serving(small_models, transport, **certificates.settings()) as server,
            secure_channel(server, before) as kept,
        ):
            assert call("linear")(kept, ())
            certificates.issue(after)
            while True:  # seen within two seconds
                with contextlib.suppress(grpc.RpcError), secure_channel(server, after) as channel:
                    assert call("linear")(channel, ())
                    break
            assert call("linear")(kept, ())
