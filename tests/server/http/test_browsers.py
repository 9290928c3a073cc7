"""What pages in a browser may ask for."""

from collections.abc import Sequence

import pytest

from skylane.server.http.browsers import ALLOWED_HEADERS, BrowserRules, Refused

OURS = "127.0.0.1:8501"
UNLOAD = "/v2/repository/models/wine/unload"
PREDICT = "/v1/models/wine:predict"


def fields(**values: str | Sequence[str]) -> dict[str, Sequence[str]]:
    return {name.replace("_", "-"): (value,) if isinstance(value, str) else value for name, value in values.items()}


def refused(rules: BrowserRules, method: str, path: str, version: str = "1.1", **values: str | Sequence[str]) -> int:
    """The status; 0 for a request that goes on."""
    found = rules.refusal(method, path, version, fields(**values))
    return 0 if found is None else found.status


LOCAL = BrowserRules((), (), loopback=True)
NAMED = BrowserRules(("models.example", "10.0.0.7"), (), loopback=True)
ANY_NAME = BrowserRules(("*",), (), loopback=True)
PUBLIC = BrowserRules((), (), loopback=False)
PUBLIC_NAMED = BrowserRules(("models.example",), (), loopback=False)


@pytest.mark.parametrize(
    ("rules", "host", "status"),
    [
        pytest.param(LOCAL, "127.0.0.1:8501", 0, id="the address"),
        pytest.param(LOCAL, "127.8.9.1", 0, id="any address of this machine"),
        pytest.param(LOCAL, "[::1]:8501", 0, id="IPv6"),
        pytest.param(LOCAL, "localhost:8501", 0, id="localhost"),
        pytest.param(LOCAL, "LocalHost.", 0, id="in any spelling"),
        pytest.param(LOCAL, "skylane.localhost:8501", 0, id="a name below localhost, which browsers do not look up"),
        pytest.param(LOCAL, "evil.example:8501", 421, id="a name that was made to stand for 127.0.0.1"),
        pytest.param(LOCAL, "127.0.0.1.evil.example", 421, id="a name that begins like an address"),
        pytest.param(LOCAL, "evil-localhost", 421, id="a name that ends like localhost"),
        pytest.param(LOCAL, "evil.example:127.0.0.1", 421, id="an address for a port"),
        pytest.param(LOCAL, "10.0.0.7", 421, id="an address of another machine"),
        pytest.param(LOCAL, "0.0.0.0:8501", 421, id="the address of all, which some browsers take for this machine"),
        pytest.param(LOCAL, "[::1", 0, id="a bracket that is not closed"),
        pytest.param(LOCAL, "user@127.0.0.1", 421, id="a user before the address"),
        pytest.param(LOCAL, "", 0, id="an empty host: no browser sends it"),
        pytest.param(NAMED, "models.example:443", 0, id="a name that is allowed"),
        pytest.param(NAMED, "Models.Example", 0, id="a name that is allowed, in capitals"),
        pytest.param(NAMED, "10.0.0.7:8501", 0, id="an address that is allowed"),
        pytest.param(NAMED, "localhost", 0, id="localhost is always allowed"),
        pytest.param(NAMED, "a.models.example", 421, id="a name below one that is allowed"),
        pytest.param(ANY_NAME, "evil.example", 0, id="any name is allowed"),
        pytest.param(PUBLIC, "whatever.example", 0, id="on other addresses any name leads here"),
        pytest.param(PUBLIC_NAMED, "whatever.example", 421, id="unless names are given"),
        pytest.param(PUBLIC_NAMED, "models.example", 0, id="one of these"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_host(rules: BrowserRules, host: str, status: int, method: str) -> None:
    assert refused(rules, method, PREDICT, host=host) == status


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        pytest.param("1.1", (), 400, id="HTTP/1.1 without it"),
        pytest.param("1.0", (), 0, id="HTTP/1.0 without it"),
        pytest.param("1.1", ("localhost", "localhost"), 400, id="twice"),
        pytest.param("1.0", ("localhost", "evil.example"), 400, id="two of them over HTTP/1.0"),
    ],
)
def test_host_is_one_field(version: str, hosts: Sequence[str], status: int) -> None:
    for rules in (LOCAL, PUBLIC):
        assert refused(rules, "GET", "/v1/models", version, host=hosts) == status


APP = "https://app.example"
OUTCOMES = "/v1/models/m:outcomes"
ALLOWING = BrowserRules((), (APP,), loopback=True)
ALLOWING_ALL = BrowserRules((), ("*",), loopback=True)


@pytest.mark.parametrize(
    ("rules", "path", "sent", "status"),
    [
        pytest.param(LOCAL, UNLOAD, {}, 0, id="a program"),
        pytest.param(LOCAL, UNLOAD, {"origin": "http://127.0.0.1:8501"}, 0, id="our own page"),
        pytest.param(
            LOCAL, UNLOAD, {"origin": "http://127.0.0.1:8501", "sec_fetch_site": "same-origin"}, 0, id="ours, told so"
        ),
        pytest.param(LOCAL, UNLOAD, {"sec_fetch_site": "none"}, 0, id="what the user typed"),
        pytest.param(LOCAL, UNLOAD, {"origin": "https://evil.example"}, 403, id="a form of a page elsewhere"),
        pytest.param(
            LOCAL, UNLOAD, {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}, 403, id="told so"
        ),
        pytest.param(LOCAL, UNLOAD, {"sec_fetch_site": "cross-site"}, 403, id="elsewhere, without an origin"),
        pytest.param(LOCAL, UNLOAD, {"sec_fetch_site": "same-site"}, 403, id="a neighbour of the same domain"),
        pytest.param(LOCAL, UNLOAD, {"sec_fetch_site": ("none", "cross-site")}, 403, id="a field that stands twice"),
        pytest.param(LOCAL, UNLOAD, {"origin": "null"}, 403, id="a page without an origin, as in a sandbox"),
        pytest.param(LOCAL, UNLOAD, {"origin": "http://127.0.0.1:3000"}, 403, id="another port of this machine"),
        pytest.param(LOCAL, UNLOAD, {"origin": "http://127.0.0.1:x"}, 403, id="a port that is none"),
        pytest.param(LOCAL, UNLOAD, {"origin": "file://127.0.0.1:8501"}, 403, id="a scheme that is not HTTP's"),
        pytest.param(LOCAL, PREDICT, {"origin": "https://evil.example"}, 403, id="predictions cost time as well"),
        pytest.param(LOCAL, "/v2/repository/index", {"origin": "https://evil.example"}, 403, id="and lists"),
        pytest.param(ALLOWING, UNLOAD, {"origin": APP, "sec_fetch_site": "cross-site"}, 0, id="a page that is allowed"),
        pytest.param(ALLOWING, UNLOAD, {"origin": "HTTPS://APP.EXAMPLE"}, 0, id="allowed, in capitals"),
        pytest.param(ALLOWING, UNLOAD, {"origin": "http://app.example"}, 403, id="another scheme than is allowed"),
        pytest.param(ALLOWING, PREDICT, {"origin": "https://evil.example"}, 403, id="another page than is allowed"),
        pytest.param(ALLOWING_ALL, PREDICT, {"origin": "https://evil.example"}, 0, id="all are allowed"),
        pytest.param(ALLOWING_ALL, UNLOAD, {"origin": "https://evil.example"}, 403, id="but never to change models"),
        pytest.param(ALLOWING_ALL, OUTCOMES, {"origin": "https://evil.example"}, 403, id="or what is known of them"),
        pytest.param(ALLOWING, OUTCOMES, {"origin": APP}, 0, id="outcomes of a page that is allowed by name"),
        pytest.param(ALLOWING_ALL, PREDICT, {"sec_fetch_site": "cross-site"}, 403, id="nobody named, nobody allowed"),
    ],
)
def test_origin(rules: BrowserRules, path: str, sent: dict[str, str], status: int) -> None:
    assert refused(rules, "POST", path, host=OURS, **sent) == status
    for method in ("GET", "HEAD", "OPTIONS"):
        assert refused(rules, method, path, host=OURS, **sent) == 0, "it changes nothing, and cannot be read elsewhere"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        pytest.param("https://models.example", "models.example", id="a proxy speaks TLS for us"),
        pytest.param("https://models.example:443", "models.example", id="with the default port"),
        pytest.param("https://models.example", "models.example:443", id="the other way round"),
        pytest.param("http://[::1]:8501", "[::1]:8501", id="IPv6"),
    ],
)
def test_the_same_origin_behind_a_proxy(origin: str, host: str) -> None:
    assert refused(PUBLIC, "POST", UNLOAD, host=host, origin=origin) == 0


def test_what_a_page_elsewhere_can_read() -> None:
    assert LOCAL.cors(APP, PREDICT) == {}
    assert ALLOWING.cors("", PREDICT) == ALLOWING.cors("https://evil.example", PREDICT) == {"vary": "origin"}
    assert ALLOWING.cors(APP, PREDICT)["access-control-allow-origin"] == APP
    assert ALLOWING_ALL.cors(APP, PREDICT)["access-control-allow-origin"] == "*"
    for path in (UNLOAD, OUTCOMES):
        assert ALLOWING_ALL.cors(APP, path) == {"vary": "origin"}


def test_a_browser_that_asks_before_it_asks() -> None:
    answer = ALLOWING.preflight(APP, PREDICT)
    assert not isinstance(answer, Refused)
    assert answer["access-control-allow-methods"] == "GET, POST"
    assert {"content-type", "authorization"} <= set(ALLOWED_HEADERS.split(", "))
    for rules, origin, path in ((LOCAL, APP, PREDICT), (ALLOWING, "null", PREDICT), (ALLOWING_ALL, APP, UNLOAD)):
        assert isinstance(rules.preflight(origin, path), Refused)
