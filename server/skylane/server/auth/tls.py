"""TLS whose certificates change while connections go on: new connections get the new ones.

A context that is in use cannot be changed safely: it only ever learns more authorities, and a key that does not fit
its certificate leaves it with half of both. So each change makes a new context, and connections begin with the newest.
"""

import logging
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

from skylane.server.auth import certificates
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""A change is seen by the first connection after this time."""

Protocol = Literal["h2", "http/1.1"]
"""As ALPN names it."""

_Stamp = tuple[tuple[int, int, int], ...]


class RotatingContext(ssl.SSLContext):
    """What a listener holds: hands each new connection to the newest context. Made for asyncio, which wraps BIOs."""

    _files: "TlsFiles"

    @classmethod
    def of(cls, files: "TlsFiles") -> "RotatingContext":
        """One that follows these files."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._files = files
        return context

    def poll(self) -> None:
        """Read the files now if they have changed."""
        self._files.poll()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self._files.newest().wrap_bio(*args, **kwargs)


class TlsFiles:
    """The files of a certificate, its key, and the authority whose clients are let in, as a context."""

    def __init__(
        self,
        cert: Path,
        key: Path,
        client_ca: Path | None,
        protocol: Protocol,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """With `client_ca`, connections without a certificate by it are refused. Raises CannotStart.

        `clock` says when to see whether the files have changed, `now` which certificates have expired.
        """
        self._protocol = protocol
        self._cert, self._key, self._client_ca, self._clock = cert, key, client_ca, clock
        self._lock, self._looked_at, self._now = Lock(), clock(), now
        try:
            self._stamp: _Stamp | None = self._stamps()
            self._context = self._made()
        except (OSError, ssl.SSLError) as error:
            raise CannotStart(f"tls: {_reason(error)}: look at --tls-cert, --tls-key and --tls-client-ca") from error

    def newest(self) -> ssl.SSLContext:
        """The context for a new connection. Invalid files are logged once, and the previous context stays in use."""
        if self._clock() - self._looked_at >= LOOK_S:
            self.poll()
        return self._context

    def poll(self) -> None:
        """Read the files now if they have changed. Thread-safe."""
        with self._lock:
            self._looked_at = self._clock()
            self._look()

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate."""
        return self._client_ca is not None

    def contents(self) -> tuple[bytes, bytes, bytes | None]:
        """Key, certificate chain and authority as they are on disk. Raises OSError."""
        client_ca = None if self._client_ca is None else self._client_ca.read_bytes()
        return self._key.read_bytes(), self._cert.read_bytes(), client_ca

    def _look(self) -> None:
        try:
            stamp: _Stamp | None = self._stamps()
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._context = self._made()
        except (OSError, ssl.SSLError) as error:
            log.error("tls: the changed files cannot be used, the previous ones stay in force: %s", _reason(error))
        else:
            log.info("tls: %s has changed: new connections use it", self._cert)

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        context.set_alpn_protocols([self._protocol])
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        self._warn_of_dates()
        return context

    def _warn_of_dates(self) -> None:
        """Log what clients will refuse although OpenSSL takes it here. Once for the gRPC and the HTTP port."""
        if self._protocol != "h2":
            return
        now = datetime.fromtimestamp(self._now(), UTC)
        refused = {self._cert: "clients refuse it"}
        if self._client_ca:
            refused[self._client_ca] = "certificates of clients by it are refused"
        for path, what in refused.items():
            for problem in certificates.problems(path.read_text(errors="replace"), now):
                log.warning("tls: %s: %s: %s", path, problem, what)

    def _stamps(self) -> _Stamp:
        paths = (self._cert, self._key, *([self._client_ca] if self._client_ca else []))
        return tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in map(os.stat, paths))


def _reason(error: OSError) -> str:
    """OpenSSL names no file, and its reasons are short; the key's content is in none of them."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def files_of(settings: Settings, protocol: Protocol) -> TlsFiles | None:
    """What the settings say of TLS, for a port that speaks this protocol; None: none. Raises CannotStart."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca, protocol)


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """The same for HTTP, as asyncio wants it. Raises CannotStart."""
    files = files_of(settings, "http/1.1")
    return None if files is None else RotatingContext.of(files)
