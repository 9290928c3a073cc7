"""Until when certificates are valid, read from their PEM. Pure.

The standard library decodes only certificates of authorities and of peers, so the few fields before the dates are
stepped over here: RFC 5280, section 4.1, in the encoding of X.690.
"""

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18

_CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?\s-----END CERTIFICATE-----", re.DOTALL
)  # what else a file holds, such as a key, is none of our business


class Unreadable(ValueError):
    """The bytes are no certificate."""


@dataclass(frozen=True)
class Validity:
    """When a certificate holds."""

    not_before: datetime
    not_after: datetime

    def problem(self, now: datetime) -> str:
        """Why clients will refuse it now; empty if its dates are good."""
        if now > self.not_after:
            return f"expired at {self.not_after:%Y-%m-%d %H:%M:%S} UTC"
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M:%S} UTC"
        return ""


def problems(pem: str, now: datetime) -> list[str]:
    """One sentence for each certificate of a chain whose dates clients will refuse. Skips what it cannot read: whether
    a file can be used, OpenSSL decides."""
    problems = []
    for number, text in enumerate(_CERTIFICATE.findall(pem), 1):
        try:
            problem = validity(ssl.PEM_cert_to_DER_cert(text)).problem(now)
        except ValueError:
            continue
        if problem:
            problems.append(f"certificate {number} {problem}" if number > 1 else f"the certificate {problem}")
    return problems


def validity(der: bytes) -> Validity:
    """The dates of one certificate. Raises Unreadable."""
    try:
        certificate, _ = _element(der, 0, _SEQUENCE)
        fields, at = _element(certificate, 0, _SEQUENCE)[0], 0
        if fields[0] == _VERSION:
            at = _element(fields, 0, _VERSION)[1]
        for _ in ("serial number", "signature", "issuer"):
            at = _element(fields, at)[1]
        dates = _element(fields, at, _SEQUENCE)[0]
        before, at = _time(dates, 0)
        return Validity(before, _time(dates, at)[0])
    except IndexError as error:
        raise Unreadable("the certificate ends too early") from error


def _element(data: bytes, at: int, expected: int | None = None) -> tuple[bytes, int]:
    """The content of the element that begins here, and where the next one does."""
    if expected is not None and data[at] != expected:
        raise Unreadable(f"expected an element of type {expected:#x}, received {data[at]:#x}")
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + size > len(data):
        raise Unreadable("an element is longer than what holds it")
    return data[start : start + size], start + size


def _time(data: bytes, at: int) -> tuple[datetime, int]:
    kind = data[at]
    content, after = _element(data, at)
    text = content.decode("ascii", errors="replace")
    if kind == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    elif kind != _GENERALIZED_TIME:
        raise Unreadable(f"expected a time, received an element of type {kind:#x}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC), after
