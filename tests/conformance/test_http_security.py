"""Tokens and TLS on the HTTP port: who is let in, what they may do, and how both change while the server runs."""

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from skylane.server.auth.tls import LOOK_S, TlsFiles
from skylane.server.auth.tokens import hash_of
from skylane.server.core.errors import CannotStart
from skylane.server.http.live_events import STREAMS_MAX
from support import models
from support.calls import features
from support.http import Http, infer, tensor
from support.security import Certificates, section, trusting
from support.server import RunningServer, serving

ONE = infer(tensor("features", features(1)))
ROWS = {"instances": features(1).tolist()}


class TestTokens:
    """Each token is its own name."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        root = tmp_path_factory.mktemp("models")
        models.linear(root, "wine-red")
        models.linear(root, "flights")
        tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
        tokens.write_text(
            section("caller", "predict", models=("wine-*",))
            + section("watcher", "metrics")
            + section("admin", "admin")
            + section("expired", "predict", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
        with serving(root, http_port=0, tokens=tokens) as server:
            yield server

    @pytest.mark.parametrize("token", [None, "", "unknown", "expired", "caller2"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v2/models/wine-red/infer"),
            ("POST", "/v2/models/nothing/infer"),
            ("POST", "/v1/models/wine-red:predict"),
            ("POST", "/v1/models/wine-red/versions/x:predict"),
            ("GET", "/v2"),
            ("GET", "/v2/models/wine-red"),
            ("GET", "/v2/models/wine-red/ready"),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/wine-red"),
            ("GET", "/v1/models/wine-red/metadata"),
            ("POST", "/v2/repository/index"),
            ("GET", "/metrics"),
            ("GET", "/live/events"),
            ("GET", "/live/models/wine-red/1"),
            ("GET", "/live/models/nothing/x"),
            ("GET", "/openapi.json"),
        ],
    )
    def test_who_is_not_known_is_told_nothing(
        self, server: RunningServer, method: str, path: str, token: str | None
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with Http(server.http_port) as http:
            http.send(method, path, b"{" if method == "POST" else None, **headers)
            answer = http.answer()
        assert answer.error == (401, "this server requires a valid bearer token (authorization: Bearer …)")
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/"])
    def test_probes_and_the_page_need_no_token(self, server: RunningServer, path: str) -> None:
        with Http(server.http_port) as http:
            assert http.get(path).status == 200

    @pytest.mark.parametrize(
        ("token", "path", "body", "status"),
        [
            pytest.param("caller", "/v2/models/wine-red/infer", ONE, 200, id="its model"),
            pytest.param("caller", "/v1/models/wine-red:predict", ROWS, 200, id="its model, other protocol"),
            pytest.param("caller", "/v2/models/wine-red", None, 200, id="about its model"),
            pytest.param("caller", "/v2/models/wine-white/infer", ONE, 404, id="one that would be its own"),
            pytest.param("caller", "/v2/models/flights/infer", ONE, 403, id="another's model"),
            pytest.param("caller", "/v2/models/nothing/infer", b"{", 403, id="none, and it does not learn that"),
            pytest.param("caller", "/v1/models/flights", None, 403, id="about another's model"),
            pytest.param("caller", "/metrics", None, 403, id="metrics"),
            pytest.param("caller", "/live/events", None, 403, id="the live page's figures"),
            pytest.param("caller", "/live/models/wine-red/1", None, 200, id="where its model comes from"),
            pytest.param("caller", "/live/models/flights/1", None, 403, id="where another's comes from"),
            pytest.param("watcher", "/live/models/flights/1", None, 403, id="a watcher asks where a model comes from"),
            pytest.param("watcher", "/metrics", None, 200, id="metrics"),
            pytest.param("watcher", "/v2/models/wine-red/infer", ONE, 403, id="a watcher calls"),
            pytest.param("admin", "/v2/models/flights/infer", ONE, 200, id="an admin calls"),
        ],
    )
    def test_what_a_token_allows(self, server: RunningServer, token: str, path: str, body: Any, status: int) -> None:
        with Http(server.http_port, Authorization=f"Bearer {token}") as http:
            answer = http.get(path) if body is None else http.post(path, body)
        assert answer.status == status
        if status == 403:
            assert answer.error == (403, "these credentials do not allow this")

    def test_none_but_an_admin_loads_and_unloads(self, server: RunningServer) -> None:
        with Http(server.http_port, Authorization="Bearer caller") as http:
            for change in ("load", "unload"):
                refused = http.post(f"/v2/repository/models/wine-red/{change}", {})
                assert refused.error == (403, "these credentials do not allow this")

    def test_lists_name_the_models_of_the_token_alone(self, server: RunningServer) -> None:
        with Http(server.http_port, Authorization="Bearer caller") as http:
            assert http.get("/v1/models").json == {"models": ["wine-red"]}
            assert [entry["name"] for entry in http.post("/v2/repository/index").json] == ["wine-red"]
            document = http.get("/openapi.json").json
        assert [path for path in document["paths"] if path.endswith(":predict")] == ["/v1/models/wine-red:predict"]
        assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


def test_no_token_and_no_header_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("secret-caller", "predict"))
    with (
        caplog.at_level(logging.DEBUG),
        serving(tmp_path / "models", http_port=0, tokens=tokens) as server,
        Http(server.http_port) as http,
    ):
        assert http.post("/v2/models/linear/infer", ONE, Authorization="Bearer secret-caller").status == 200
        assert http.post("/v2/models/linear/infer", ONE, Authorization="Bearer secret-stranger").status == 401
    assert "serving" in caplog.text
    assert "secret" not in caplog.text
    assert hash_of("secret-caller") not in caplog.text


class TestBrowsers:
    """What reaches a server on this machine from pages elsewhere; the table is in `http/browsers.py`."""

    ALLOWED = "https://app.example"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        root = tmp_path_factory.mktemp("models")
        models.linear(root)
        with serving(root, http_port=0, allow_admin=True, allowed_origins=(cls.ALLOWED,)) as server:
            yield server

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            pytest.param({"Origin": "https://evil.example", "Content_Type": "text/plain"}, 403, id="a form elsewhere"),
            pytest.param({"Sec_Fetch_Site": "cross-site"}, 403, id="elsewhere, without an origin"),
            pytest.param({"Host": "evil.example"}, 421, id="a name that was made to stand for this machine"),
        ],
    )
    @pytest.mark.parametrize("path", ["/v2/repository/models/linear/unload", "/v2/models/linear/infer"])
    def test_a_foreign_page_changes_nothing(
        self, server: RunningServer, headers: dict[str, str], status: int, path: str
    ) -> None:
        with Http(server.http_port) as http:
            assert http.post(path, b"", **headers).error[0] == status
            assert http.get("/v2/models/linear/ready").status == 200

    def test_a_program_and_an_allowed_page_do(self, server: RunningServer) -> None:
        with Http(server.http_port) as http:
            assert http.post("/v2/repository/models/linear/unload", b"").status == 200
            allowed = {"Origin": self.ALLOWED, "Sec_Fetch_Site": "cross-site"}
            loaded = http.post("/v2/repository/models/linear/load", b"", **allowed)
            assert (loaded.status, loaded.headers["access-control-allow-origin"]) == (200, self.ALLOWED)
            assert http.get("/v2/models/linear/ready", Origin="https://evil.example").headers["vary"] == "origin"

    def test_a_browser_asks_first(self, server: RunningServer) -> None:
        with Http(server.http_port) as http:
            asks = {"Access_Control_Request_Method": "POST"}
            http.send("OPTIONS", "/v1/models/linear:predict", Origin=self.ALLOWED, **asks)
            answer = http.answer()
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, self.ALLOWED)
            assert answer.headers["access-control-allow-methods"] == "GET, POST"
            http.send("OPTIONS", "/v1/models/linear:predict", Origin="https://evil.example", **asks)
            refused = http.answer()
            assert refused.error[0] == 403
            assert "access-control-allow-origin" not in refused.headers

    def test_health_is_answered_under_every_name(self, server: RunningServer) -> None:
        with Http(server.http_port) as http:
            for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
                assert http.get(path, Host="pod-7.cluster.example").status == 200

    @pytest.mark.parametrize(
        "path", ["/v1/models", "/v2", "/metrics", "/openapi.json", "/docs", "/", "/nothing", "/live/figures.js"]
    )
    def test_no_answer_is_taken_for_another_type(self, server: RunningServer, path: str) -> None:
        with Http(server.http_port) as http:
            assert http.get(path).headers["x-content-type-options"] == "nosniff"

    def test_what_is_no_request_is_refused_with_the_same_field(self, server: RunningServer) -> None:
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=30) as connection:
            connection.sendall(b"this is no request\r\n\r\n")
            assert b"\r\nx-content-type-options: nosniff\r\n" in connection.makefile("rb").read()

    def test_http_1_1_without_a_host(self, server: RunningServer) -> None:
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=30) as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400 ")

    def test_pages_are_bounded_however_many_come_at_once(self, server: RunningServer) -> None:
        with contextlib.ExitStack() as stack:
            pages = [stack.enter_context(Http(server.http_port)) for _ in range(2 * STREAMS_MAX)]
            for page in pages:
                page.send("GET", "/live/events")
            statuses = [page.connection.getresponse().status for page in pages]
            assert sorted(statuses) == [200] * STREAMS_MAX + [503] * STREAMS_MAX
        with Http(server.http_port) as http:
            while True:  # until the server has seen them go
                http.send("GET", "/live/events")
                if http.connection.getresponse().status == 200:
                    break
                http.connection.close()


class TestTls:
    """The port speaks TLS alone."""

    def test_a_client_that_trusts_the_certificate(
        self, small_models: Path, certificates: Certificates, authorities: tuple[trustme.CA, trustme.CA]
    ) -> None:
        with serving(small_models, http_port=0, **certificates.settings()) as server:
            with Http(server.http_port, trusting(authorities[0])) as http:
                assert http.post("/v2/models/linear/infer", ONE).status == 200
            with pytest.raises(ssl.SSLCertVerificationError), Http(server.http_port, trusting(authorities[1])) as http:
                http.get("/healthz")
            with pytest.raises((ConnectionError, OSError)), Http(server.http_port) as http:
                http.get("/healthz")

    def test_clients_need_a_certificate_by_the_right_authority(
        self, small_models: Path, certificates: Certificates, authorities: tuple[trustme.CA, trustme.CA]
    ) -> None:
        ours, theirs = authorities
        with serving(small_models, http_port=0, **certificates.settings(mutual=True)) as server:
            with Http(server.http_port, trusting(ours, as_client_of=ours)) as http:
                assert http.post("/v2/models/linear/infer", ONE).status == 200
            for stranger in (trusting(ours), trusting(ours, as_client_of=theirs)):
                with pytest.raises((ssl.SSLError, ConnectionError)), Http(server.http_port, stranger) as http:
                    http.get("/healthz")

    def test_a_server_takes_over_a_changed_certificate_and_keeps_its_connections(
        self, small_models: Path, certificates: Certificates, authorities: tuple[trustme.CA, trustme.CA]
    ) -> None:
        before, after = authorities
        with (
            serving(small_models, http_port=0, **certificates.settings()) as server,
            Http(server.http_port, trusting(before)) as kept,
        ):
            assert kept.get("/healthz").status == 200
            certificates.issue(after)
            while True:
                with contextlib.suppress(ssl.SSLCertVerificationError), Http(server.http_port, trusting(after)) as new:
                    assert new.get("/healthz").status == 200
                    break
            assert kept.get("/healthz").status == 200


class TestRotation:
    """Files that change while the server runs."""

    @staticmethod
    def handshake(files: TlsFiles, client: ssl.SSLContext) -> str:
        """Shake hands in memory; gives the serial number of the certificate that the client saw."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        near = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        far = files.newest().wrap_bio(to_server, to_client, server_side=True)
        pending = [near, far]
        while pending:
            side = pending.pop(0)
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pending.append(side)
        found = near.getpeercert()
        assert found is not None
        return str(found["serialNumber"])

    @pytest.fixture
    def clock(self) -> list[float]:
        return [0.0]

    @pytest.fixture
    def files(self, certificates: Certificates, clock: list[float]) -> TlsFiles:
        return TlsFiles(certificates.cert, certificates.key, certificates.client_ca, "http/1.1", lambda: clock[0])

    def test_new_connections_get_the_new_certificate_and_authority(
        self,
        certificates: Certificates,
        files: TlsFiles,
        clock: list[float],
        authorities: tuple[trustme.CA, trustme.CA],
    ) -> None:
        ours, theirs = authorities
        friend, stranger = trusting(ours, as_client_of=ours), trusting(ours, as_client_of=theirs)
        before = self.handshake(files, friend)
        with pytest.raises(ssl.SSLError):
            self.handshake(files, stranger)
        certificates.issue(ours, clients=theirs)
        assert self.handshake(files, friend) == before, "looked at not a second ago"
        clock[0] += LOOK_S
        assert self.handshake(files, stranger) != before
        with pytest.raises(ssl.SSLError):
            self.handshake(files, friend)

    def test_files_that_do_not_fit_leave_everything_as_it_was(
        self,
        certificates: Certificates,
        files: TlsFiles,
        clock: list[float],
        authorities: tuple[trustme.CA, trustme.CA],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        friend = trusting(authorities[0], as_client_of=authorities[0])
        before = self.handshake(files, friend)
        old_key = certificates.key.read_bytes()
        certificates.issue(authorities[0])
        new_key = certificates.key.read_bytes()
        certificates.key.write_bytes(old_key)
        for _ in range(3):
            clock[0] += LOOK_S
            assert self.handshake(files, friend) == before
        assert caplog.text.count("the changed files cannot be used, the previous ones stay in force") == 1
        assert "PRIVATE KEY" not in caplog.text
        certificates.key.write_bytes(new_key)
        os.utime(certificates.key, ns=(1, 1))
        clock[0] += LOOK_S
        assert self.handshake(files, friend) != before

    def test_a_server_does_not_start_without_its_certificate(
        self, small_models: Path, certificates: Certificates
    ) -> None:
        certificates.key.write_text("no key")
        settings = certificates.settings()
        with pytest.raises(CannotStart, match=r"^tls: .*--tls-key"), serving(small_models, http_port=0, **settings):
            raise AssertionError("it started")
