"""What an operator can set for the whole server. Frozen and validated once; models have `model.toml` for theirs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from skylane.server.core.hosts import UNIX, UNIX_PATH_BYTES_MAX, each_of, internet, unix_paths
from skylane.server.core.text import listed

Transport = Literal["native", "grpcio"]

Traces = Literal["off", "otlp", "console"]

PROCESSES_MAX: Final = 256


def check_origin(origin: str) -> None:
    """Raise ValueError unless this is `*` or the origin of a page."""
    parts = urlsplit(origin)
    if origin != "*" and (not parts.scheme or not parts.netloc or parts.path.rstrip("/") or parts.query):
        raise ValueError(f"allowed-origins: expected * or origins as https://app.example, received {origin!r}")


def check_page_url(url: str) -> None:
    """Raise ValueError unless this is the URL of a page that every visitor may see: no credentials in it."""
    try:
        parts = urlsplit(url)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        is_page = is_page and parts.port != 0  # reading an invalid port raises
    except ValueError:
        is_page = False
    if not is_page or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(
            f"monitor-url: expected an http or https URL without credentials, such as http://127.0.0.1:8600/, "
            f"received {url!r}"
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one server."""

    models: Path = Path("models")
    """The model repository."""
    host: str | tuple[str, ...] = "127.0.0.1"
    """Addresses to listen on, see host/addresses.py. The default is reachable only from this machine."""
    port: int = 8500
    """Port for gRPC; 0 picks a free one."""
    http_port: int | None = None
    """Port for HTTP beside gRPC; 0 picks a free one, None: no HTTP."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names besides localhost that the HTTP port accepts; `*`: any. If empty, a port on an address other than
    loopback accepts every name."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may call the HTTP port from a browser, such as `https://app.example`; `*`: any."""
    tokens: Path | None = None
    """File of bearer tokens, see auth/tokens.py; None: no token is required."""
    allow_admin: bool = False
    """Whether any caller may load and unload models if no tokens are configured. With tokens, their scopes decide."""
    tls_cert: Path | None = None
    """Certificate chain in PEM; None: no TLS."""
    tls_key: Path | None = None
    """Its private key."""
    tls_client_ca: Path | None = None
    """Clients must have a certificate of this authority; None: clients need no certificate."""
    transport: Transport = "native"
    """The HTTP/2 implementation: `native`, our own, with grpcio behind it for the rarer methods; or `grpcio` alone."""
    workers: int = 1
    """Processes that share the port, each with every model."""
    supervised: bool = False
    """This process is one of several workers that share the port. Set only by the supervisor."""
    replaces: bool = False
    """This worker replaces another while the others serve: it listens only once its models are loaded. Set only by
    the supervisor."""
    inherited: tuple[int, ...] = ()
    """File descriptors of Unix domain sockets that the supervisor has bound. Set only by the supervisor."""
    shared: Path | None = None
    """A private directory of the workers of one server: their snapshots, so that metrics cover all workers; the last
    valid policies; their sockets. Set only by the supervisor."""
    triton_metrics: bool = False
    """Whether /metrics also has the metrics under NVIDIA Triton's names."""
    journal: Path | None = None
    """Directory in which outcomes are recorded, and predictions of models whose `[monitor]` says so; None: nowhere."""
    monitor_url: str | None = None
    """URL of the page of `skylane monitor`, to which the live page links; None: no link."""
    access_log: bool = False
    """Whether each request is logged."""
    traces: Traces = "off"
    """Where OpenTelemetry spans are exported: to a collector set by the OTEL_* variables, or to standard output."""
    trace_sample: float = 0.01
    """The share of requests without a parent span that are traced, 0 to 1. Others follow their parent's decision."""
    max_message_mb: int = 64
    """Largest request in MiB."""
    max_connections: int = 10_000
    """Most connections to the gRPC port of one process; further ones are closed at once. `native` only."""
    max_streams: int = 1024
    """Most requests in flight on one gRPC connection; further ones are refused. `native` only."""
    max_connection_age_s: float = 0.0
    """Seconds after which clients must reconnect, randomly varied by a tenth, so that replaced workers and added
    servers receive connections too. Requests in flight are finished. 0: never."""
    poll_s: float = 1.0
    """Seconds between two polls of the model repository; 0: it is read only at the start."""
    load_timeout_s: float = 120.0
    """Seconds after which a version that is still loading is refused."""
    grace_s: float = 30.0
    """Seconds that requests in flight may take to finish after SIGTERM."""
    linger_s: float = 0.0
    """Seconds after SIGTERM in which the server reports itself as not serving but still answers requests, so that load
    balancers notice."""

    def __post_init__(self) -> None:
        if self.transport not in get_args(Transport):  # argparse checks options, not environment variables
            raise ValueError(f"transport: expected one of {listed(get_args(Transport))}, received {self.transport!r}")
        if self.traces not in get_args(Traces):
            raise ValueError(f"traces: expected one of {listed(get_args(Traces))}, received {self.traces!r}")
        if not 0 <= self.trace_sample <= 1:
            raise ValueError(f"trace-sample: expected 0 to 1, received {self.trace_sample}")
        self._check_hosts()
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: expected 0 to 65535, received {self.port}")
        if self.http_port is not None and not 0 <= self.http_port <= 65535:
            raise ValueError(f"http-port: expected 0 to 65535, received {self.http_port}")
        if self.http_port and self.http_port == self.port:
            raise ValueError(f"http-port: expected another port than gRPC's, received {self.http_port} for both")
        for origin in self.allowed_origins:
            check_origin(origin)
        if self.monitor_url is not None:
            check_page_url(self.monitor_url)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls-cert and tls-key: expected both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls-client-ca: expected tls-cert and tls-key beside it")
        if not 1 <= self.workers <= PROCESSES_MAX:
            raise ValueError(f"workers: expected 1 to {PROCESSES_MAX}, received {self.workers}")
        if not 1 <= self.max_message_mb <= 1024:
            raise ValueError(f"max-message-mb: expected 1 to 1024, received {self.max_message_mb}")
        for name in ("max_connections", "max_streams"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name.replace('_', '-')}: expected 1 to 1000000, received {getattr(self, name)}")
        if not 0 < self.load_timeout_s <= 86_400:
            raise ValueError(f"load-timeout-s: expected more than 0 to 86400 seconds, received {self.load_timeout_s}")
        for name in ("max_connection_age_s", "poll_s", "grace_s", "linger_s"):
            if not 0 <= getattr(self, name) <= 86_400:
                raise ValueError(
                    f"{name.replace('_', '-')}: expected 0 to 86400 seconds, received {getattr(self, name)}"
                )

    def _check_hosts(self) -> None:
        if not each_of(self.host):
            raise ValueError("host: expected an address or more, received none")
        for path in unix_paths(self.host):
            if not 0 < len(path.encode()) <= UNIX_PATH_BYTES_MAX:
                raise ValueError(
                    f"host: expected a path of 1 to {UNIX_PATH_BYTES_MAX} bytes after {UNIX}, received {path!r}"
                )
        if unix_paths(self.host) and self.workers > 1 and self.transport != "native":
            raise ValueError("host: expected no Unix domain socket: workers share one only with --transport native")
        if self.http_port is not None and not internet(self.host):
            raise ValueError("http-port: expected a --host beside the Unix domain socket, which is for gRPC alone")

    @property
    def message_bytes_max(self) -> int:
        """Largest request in bytes."""
        return self.max_message_mb * 2**20
