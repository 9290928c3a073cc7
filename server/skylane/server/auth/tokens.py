"""Who may do what: bearer tokens, their scopes, and the decision. Pure: time arrives as `now`, files as bytes.

A token is 256 bits of chance, so its plain SHA-256 is kept: there is nothing to guess that a slow hash would protect.
Missing, unknown and expired tokens are answered in the same words, and a token's holder learns nothing of models that
the token does not cover, not even whether they exist. Nothing here ever puts a token, or a hash, into a message.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

import msgspec

from skylane.server.core.errors import Unauthenticated
from skylane.server.core.token_scope import Action, Grant

PREFIX: Final = "sky_"
"""Tokens begin with it, so that scanners for leaked secrets find them."""
TOKEN_BYTES: Final = 32
GRANTS_KEPT_MAX: Final = 1024
HEADER_LENGTH_MAX: Final = 512
"""No longer header is even hashed."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Pattern = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.*?!\[\]-]{1,200}$")]
"""What names of models are made of, and what fnmatch adds."""


class BadTokens(Exception):
    """The file of tokens cannot be used; the message names the key, and shows nothing of its values."""


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file: whose hash it is and what it allows."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Of the whole token, prefix and all, in hexadecimal."""
    models: Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1)] = ("*",)
    """Names of models, or patterns such as `wine-*`."""
    actions: Annotated[tuple[Action, ...], msgspec.Meta(min_length=1)] = ("predict",)
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Refused from this instant on; None: never."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: dict[Name, Token] = {}


@dataclass(frozen=True, eq=False)
class Credentials:
    """The tokens of one file. Thread-safe."""

    tokens: Mapping[str, Token]
    _kept: dict[bytes, Grant] = field(default_factory=dict)
    """Hash of a header → its grant, of headers that were right: so invalid headers cannot fill it."""

    def grant(self, header: str | None, now: float) -> Grant:
        """What the value of an authorization header allows at `now`, in seconds since the epoch.

        Raises Unauthenticated, in the same words for whatever is wrong. A header seen before costs one hash.
        """
        if header is None or len(header) > HEADER_LENGTH_MAX:
            raise _refusal()
        digest = hashlib.sha256(header.encode(errors="replace")).digest()
        grant = self._kept.get(digest)
        if grant is None:
            grant = self._look_up(header)
            if len(self._kept) >= GRANTS_KEPT_MAX:
                self._kept.clear()
            self._kept[digest] = grant
        if now >= grant.ends_at:
            raise _refusal()
        return grant

    def _look_up(self, header: str) -> Grant:
        """Compare the token with every hash, so that the time reveals neither which one is similar nor its position."""
        match = None
        given = hashlib.sha256(_bearer(header).encode(errors="replace")).hexdigest()
        for name, token in self.tokens.items():
            if hmac.compare_digest(token.sha256, given):
                match = name, token
        if match is None:
            raise _refusal()
        name, token = match
        ends_at = math.inf if token.expires_at is None else token.expires_at.timestamp()
        return Grant(name, frozenset(token.actions), token.models, ends_at)


def decode(content: bytes) -> Credentials:
    """Read a file of tokens. Raises BadTokens."""
    try:
        tokens = msgspec.toml.decode(content, type=_File).tokens
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTokens(f"tokens: {error}") from None  # its cause may hold what stood in the file
    hashes = [token.sha256 for token in tokens.values()]
    if len(set(hashes)) < len(hashes):
        raise BadTokens("tokens: two entries have the same sha256, so their scopes would contradict each other")
    return Credentials(tokens)


def entry(name: str, token: Token) -> str:
    """The token's section of the file, which `decode` reads."""
    lines = [
        f"[tokens.{_quoted(name)}]",
        f'sha256 = "{token.sha256}"',
        f"models = [{', '.join(map(_quoted, token.models))}]",
        f"actions = [{', '.join(map(_quoted, token.actions))}]",
    ]
    if token.expires_at is not None:
        lines.append(f"expires_at = {token.expires_at.isoformat(timespec='seconds')}")
    return "\n".join(lines) + "\n"


def new_secret(chance: Callable[[int], str]) -> str:
    """A token. `chance` gives so many random bytes as text that is safe in URLs: secrets.token_urlsafe."""
    return PREFIX + chance(TOKEN_BYTES)


def hash_of(secret: str) -> str:
    """What the file keeps of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


_BEARER: Final = re.compile(r"bearer +([^ ]+) *", re.IGNORECASE)


def _bearer(header: str) -> str:
    match = _BEARER.fullmatch(header)
    return match[1] if match else ""


def _quoted(text: str) -> str:
    """A basic string of TOML, which for what names and patterns are made of is JSON's."""
    return msgspec.json.encode(text).decode()


def _refusal() -> Unauthenticated:
    return Unauthenticated("this server requires a valid bearer token (authorization: Bearer …)")
