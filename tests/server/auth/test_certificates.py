"""Certificates with dates that clients will refuse are reported when they are read, at start and at rotation."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.auth.certificates import Unreadable, problems, validity
from skylane.server.auth.tls import LOOK_S, TlsFiles
from support.security import Certificates

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = trustme.CA()


def issue(places: Certificates, before: datetime, after: datetime) -> None:
    """Put a certificate of these dates where a server reads it."""
    issued = AUTHORITY.issue_cert("localhost", not_before=before, not_after=after)
    issued.private_key_pem.write_to_path(places.key)
    places.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


def pem(before: datetime, after: datetime) -> str:
    """A certificate of these dates."""
    return AUTHORITY.issue_cert("localhost", not_before=before, not_after=after).cert_chain_pems[0].bytes().decode()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(NOW - DAY, NOW + DAY, [], id="valid"),
        pytest.param(NOW, NOW, [], id="valid for this second"),
        pytest.param(
            NOW - 2 * DAY, NOW - DAY, ["the certificate expired at 2026-11-30 12:00:00 UTC"], id="it has expired"
        ),
        pytest.param(
            NOW + DAY, NOW + 2 * DAY, ["the certificate is not valid before 2026-12-02 12:00:00 UTC"], id="too early"
        ),
        pytest.param(NOW - DAY, datetime(2050, 1, 1, tzinfo=UTC), [], id="until a year that is written in four digits"),
    ],
)
def test_what_is_wrong_with_the_dates(before: datetime, after: datetime, expected: list[str]) -> None:
    assert problems(pem(before, after), NOW) == expected


def test_each_certificate_of_a_chain_is_looked_at() -> None:
    good, expired = pem(NOW - DAY, NOW + DAY), pem(NOW - 2 * DAY, NOW - DAY)
    assert problems(f"# made by hand\n{good}\n{expired}", NOW) == ["certificate 2 expired at 2026-11-30 12:00:00 UTC"]


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"])
def test_what_cannot_be_read_is_left_to_openssl(text: str) -> None:
    assert problems(text, NOW) == []


@given(st.binary(max_size=200))
def test_bytes_of_strangers_are_refused(der: bytes) -> None:
    with pytest.raises((Unreadable, ValueError)):
        validity(der)


@pytest.fixture
def clock() -> list[float]:
    """Seconds that a test sets."""
    return [0.0]


def test_it_is_logged_at_the_start_and_at_a_rotation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    places = Certificates(tmp_path)
    issue(places, NOW - 2 * DAY, NOW - DAY)
    warning = f"tls: {places.cert}: the certificate expired at 2026-11-30 12:00:00 UTC: clients refuse it"
    with caplog.at_level(logging.INFO, "skylane.server.auth.tls"):
        files = TlsFiles(places.cert, places.key, None, "h2", lambda: clock[0], NOW.timestamp)
        assert caplog.messages == [warning]
        issue(places, NOW - DAY, NOW + DAY)
        clock[0] += LOOK_S
        files.newest()
        assert caplog.messages[1:] == [f"tls: {places.cert} has changed: new connections use it"]
        issue(places, NOW - 3 * DAY, NOW - DAY)
        files.poll()
        assert caplog.messages[2] == warning


def test_the_authority_of_clients_is_looked_at_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = Certificates(tmp_path)
    issue(places, NOW - DAY, NOW + DAY)
    places.client_ca.write_text(pem(NOW - 2 * DAY, NOW - DAY))
    with caplog.at_level(logging.WARNING, "skylane.server.auth.tls"):
        TlsFiles(places.cert, places.key, places.client_ca, "h2", now=NOW.timestamp)
    assert caplog.messages == [
        f"tls: {places.client_ca}: the certificate expired at 2026-11-30 12:00:00 UTC: "
        "certificates of clients by it are refused"
    ]


def test_the_http_port_does_not_say_it_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = Certificates(tmp_path)
    issue(places, NOW - 2 * DAY, NOW - DAY)
    TlsFiles(places.cert, places.key, None, "http/1.1", now=NOW.timestamp)
    assert caplog.messages == []
