"""Tokens and certificates for tests."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme

from skylane.server.auth.tokens import Token, entry, hash_of
from skylane.server.core.token_scope import Action


def section(name: str, *actions: Action, models: tuple[str, ...] = ("*",), expires_at: datetime | None = None) -> str:
    return entry(name, Token(sha256=hash_of(name), actions=actions, models=models, expires_at=expires_at))


class Certificates:
    """Files in the form that the server reads."""

    def __init__(self, directory: Path) -> None:
        self.cert, self.key, self.client_ca = directory / "cert.pem", directory / "key.pem", directory / "ca.pem"

    def settings(self, *, mutual: bool = False) -> dict[str, Any]:
        more = {"tls_client_ca": self.client_ca} if mutual else {}
        return {"tls_cert": self.cert, "tls_key": self.key, **more}

    def issue(self, authority: trustme.CA, clients: trustme.CA | None = None) -> None:
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        (clients or authority).cert_pem.write_to_path(self.client_ca)


def trusting(authority: trustme.CA, as_client_of: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if as_client_of is not None:
        as_client_of.issue_cert("client@example.org").configure_cert(context)
    return context
