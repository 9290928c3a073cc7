"""How a server with TLS and bearer tokens is reached."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from skylane.client import Client

TOKEN: Final = "SKYLANE_TOKEN"
"""Variable of the environment: any user of a machine can read the arguments of a process."""


@dataclass(frozen=True)
class Access:
    """What each call carries."""

    tls: bool = False
    ca: Path | None = None
    """PEM file with the certificates that are trusted; None: those of the system."""
    token: str = field(default="", repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """For gRPC; None without TLS. Raises OSError if the certificates cannot be read."""
        if not self.tls:
            return None
        return grpc.ssl_channel_credentials(None if self.ca is None else self.ca.read_bytes())

    def channel(self, address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """A channel of gRPC. Calls on it need the metadata."""
        credentials = self.credentials()
        if credentials is None:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, credentials, options)

    def client(self, address: str, timeout_s: float) -> Client:
        """Our own client."""
        return Client(address, timeout_s=timeout_s, credentials=self.credentials(), metadata=self.metadata)

    def context(self) -> ssl.SSLContext | None:
        """For sockets that speak HTTP/2; None without TLS. Raises OSError."""
        if not self.tls:
            return None
        made = ssl.create_default_context(cafile=self.ca)
        made.set_alpn_protocols(["h2"])
        return made


OPEN: Final = Access()
"""A server without TLS and tokens."""
