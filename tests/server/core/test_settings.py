"""Settings: what is refused, in the words of the command line."""

from pathlib import Path
from typing import Any

import pytest

from skylane.server.core.settings import Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"host": ()}, "host: expected an address or more, received none", id="nowhere"),
        pytest.param(
            {"host": "unix:"},
            "host: expected a path of 1 to 107 bytes after unix:, received ''",
            id="no path of a socket",
        ),
        pytest.param(
            {"host": "unix:/s", "workers": 2, "transport": "grpcio"},
            "host: expected no Unix domain socket: workers share one only with --transport native",
            id="a socket that workers cannot share",
        ),
        pytest.param(
            {"host": "unix:/s", "http_port": 0},
            "http-port: expected a --host beside the Unix domain socket, which is for gRPC alone",
            id="HTTP nowhere",
        ),
        pytest.param({"port": -1}, "port: expected 0 to 65535, received -1", id="a port below all"),
        pytest.param({"port": 65536}, "port: expected 0 to 65535, received 65536", id="a port above all"),
        pytest.param({"workers": 0}, "workers: expected 1 to 256, received 0", id="nobody to serve"),
        pytest.param({"workers": 257}, "workers: expected 1 to 256, received 257", id="a crowd"),
        pytest.param({"max_message_mb": 0}, "max-message-mb: expected 1 to 1024, received 0", id="no message at all"),
        pytest.param({"max_connections": 0}, "max-connections: expected 1 to 1000000, received 0", id="no connection"),
        pytest.param({"max_streams": 0}, "max-streams: expected 1 to 1000000, received 0", id="no request in flight"),
        pytest.param(
            {"max_message_mb": 1025}, "max-message-mb: expected 1 to 1024, received 1025", id="messages beyond 1 GiB"
        ),
        pytest.param({"poll_s": -1.0}, "poll-s: expected 0 to 86400 seconds, received -1.0", id="time backwards"),
        pytest.param({"grace_s": float("inf")}, "grace-s: expected 0 to 86400 seconds, received inf", id="for ever"),
        pytest.param({"linger_s": float("nan")}, "linger-s: expected 0 to 86400 seconds, received nan", id="no number"),
        pytest.param({"trace_sample": 1.5}, "trace-sample: expected 0 to 1, received 1.5", id="more than all"),
        pytest.param({"trace_sample": float("nan")}, "trace-sample: expected 0 to 1, received nan", id="no share"),
        *(
            pytest.param(
                {"monitor_url": url},
                "monitor-url: expected an http or https URL without credentials, such as http://127.0.0.1:8600/, "
                f"received {url!r}",
                id=f"the monitor's page: {id_}",
            )
            for id_, url in {
                "nothing": "",
                "no scheme": "monitor.example:8600",
                "a path alone": "/monitor",
                "a script": "javascript:alert(1)",
                "another scheme": "ftp://monitor.example/",
                "no host": "http://",
                "a port without a host": "http://:8600/",
                "a port that is no number": "http://monitor.example:x/",
                "a port above all": "http://monitor.example:65536/",
                "port 0": "http://127.0.0.1:0/",
                "credentials": "https://me:secret@monitor.example/",
                "a space": "http://monitor.example/a b",
                "a line break": "http://monitor.example/\n",
                "a backslash": "http:\\\\monitor.example/",
                "an address that is none": "http://[::1/",
            }.items()
        ),
        pytest.param(
            {"traces": "jaeger"},
            "traces: expected one of off, otlp and console, received 'jaeger'",
            id="a place for spans that does not exist",
        ),
        pytest.param(
            {"transport": "http"},
            "transport: expected one of native and grpcio, received 'http'",
            id="a transport that does not exist, as the environment may say",
        ),
    ],
)
def test_a_setting_that_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        Settings(**given)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="the defaults"),
        pytest.param({"port": 0}, id="any free port"),
        pytest.param({"monitor_url": "http://127.0.0.1:8600"}, id="a monitor on this machine"),
        pytest.param({"monitor_url": "http://[::1]:8600/"}, id="a monitor at an address of IPv6"),
        pytest.param({"monitor_url": "https://ops.example/monitor/?team=a&b='c'#x"}, id="a monitor behind a proxy"),
        pytest.param({"port": 65535, "max_message_mb": 1024, "poll_s": 86_400}, id="the largest of everything"),
        pytest.param({"max_message_mb": 1, "poll_s": 0, "grace_s": 0, "linger_s": 0}, id="the least of everything"),
    ],
)
def test_a_setting_that_is_accepted(given: dict[str, Any]) -> None:
    settings = Settings(**given)
    assert all(getattr(settings, name) == value for name, value in given.items())


def test_the_limit_of_a_message_is_told_in_mib_and_kept_in_bytes() -> None:
    assert Settings(max_message_mb=3).message_bytes_max == 3 * 1024 * 1024


def test_the_default_server_is_reachable_from_this_machine_alone() -> None:
    assert (Settings().host, Settings().models) == ("127.0.0.1", Path("models"))
