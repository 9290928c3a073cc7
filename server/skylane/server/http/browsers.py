"""What web pages may request, by the Host, Origin and Sec-Fetch-Site fields of their requests. Pure.

A browser sends the requests of any page to any address that the user's machine can reach. So a page of another site
could change models by submitting a form (cross-site request forgery), and a page whose host name is made to resolve to
127.0.0.1 could read everything (DNS rebinding). Programs other than browsers send no Origin and are not affected; they
are identified by tokens.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from skylane.server.core.text import quoted

ANY: Final = "*"

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, and only pages of this origin can read their responses."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

ALLOWED_METHODS: Final = "GET, POST"
ALLOWED_HEADERS: Final = (
    "authorization, content-encoding, content-type, inference-header-content-length, x-request-id, x-request-timeout-ms"
)
EXPOSED_HEADERS: Final = ", ".join(
    (
        "inference-header-content-length",
        "retry-after",
        "retry-after-ms",
        "skylane-prediction-id",
        "x-request-id",
        "x-skylane-cached",
    )
)
PREFLIGHT_AGE_S: Final = 600


@dataclass(frozen=True)
class Refused:
    """The status and reason of a refused request."""

    status: int
    reason: str


class BrowserRules:
    """Decides which requests are refused."""

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], *, loopback: bool) -> None:
        """`hosts`: host names of this server; `origins`: origins of other sites whose pages may call it; `*` in either
        means all. `loopback`: whether the port is reachable from this machine alone.

        On other addresses every name is accepted if none is given, since the names of the address are not known.
        """
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._check_hosts = (loopback or bool(hosts)) and ANY not in hosts

    def refusal(self, method: str, path: str, version: str, fields: Mapping[str, Sequence[str]]) -> Refused | None:
        """Why a request is refused; None if it is not. `version`: of HTTP. `fields`: header fields."""
        hosts = fields.get("host", ())
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            return Refused(400, f"host: expected one field, as HTTP/1.1 demands, received {len(hosts)}")
        host = hosts[0] if hosts else ""
        if self._check_hosts and host and not self._is_ours(host):
            return Refused(
                421,
                f"host: this server is not known as {quoted(host)}: expected localhost, an address of this machine, or "
                "a name that --allowed-hosts gives",
            )
        if method in SAFE_METHODS:
            return None
        return self._refusal_of_change(host, path, fields)

    def _refusal_of_change(self, host: str, path: str, fields: Mapping[str, Sequence[str]]) -> Refused | None:
        """The same for a request that has effects."""
        origin, site = ", ".join(fields.get("origin", ())), ", ".join(fields.get("sec-fetch-site", ())).lower()
        if site in ("same-origin", "none") or (not origin and not site):
            return None
        if (not site and _is_origin_of(origin, host)) or self.allows(origin, path):
            return None
        where = quoted(origin) if origin else f"another site ({quoted(site)})"
        return _foreign(where)

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def allows(self, origin: str, path: str) -> bool:
        """Whether pages of this other origin may request this path. `*` excludes paths that change models."""
        return origin.lower() in self._origins or (
            ANY in self._origins and origin != "" and not path.startswith("/v2/repository/models/")
        )

    def cors(self, origin: str, path: str) -> Mapping[str, str]:
        """Header fields of a response that let a page of another origin read it."""
        if not self._origins:
            return {}
        if not origin or not self.allows(origin, path):
            return {"vary": "origin"}
        named = ANY if ANY in self._origins else origin
        return {
            "access-control-allow-origin": named,
            "access-control-expose-headers": EXPOSED_HEADERS,
            "vary": "origin",
        }

    def preflight(self, origin: str, path: str) -> Mapping[str, str] | Refused:
        """Header fields, in addition to those of `cors`, of a preflight response; or why it is refused."""
        if not self.allows(origin, path):
            return Refused(
                403,
                f"origin: pages of {quoted(origin)} may not call this server: --allowed-origins names those that may",
            )
        return {
            "access-control-allow-methods": ALLOWED_METHODS,
            "access-control-allow-headers": ALLOWED_HEADERS,
            "access-control-max-age": str(PREFLIGHT_AGE_S),
        }


def _foreign(where: str) -> Refused:
    return Refused(403, f"origin: pages of {where} may not call this server: --allowed-origins names those that may")


def _name_of(host: str) -> str:
    """The host without its port, and without the brackets of IPv6."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether the origin and the Host field name the same server. Schemes may differ: a proxy may terminate TLS."""
    try:
        parts = urlsplit(origin.lower())
        if not parts.netloc or parts.scheme not in _DEFAULT_PORTS:
            return False
        server = urlsplit(f"{parts.scheme}://{host.lower()}")
        default = _DEFAULT_PORTS[parts.scheme]
        return (parts.hostname, parts.port or default) == (server.hostname, server.port or default)
    except ValueError:  # an invalid port
        return False
