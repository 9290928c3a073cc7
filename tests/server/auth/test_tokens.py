"""Tokens: who gets which grant, what it allows, and that refusals tell nothing."""

import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.auth.tokens import BadTokens, Token, decode, entry, hash_of, new_secret
from skylane.server.core.errors import PermissionDenied, Unauthenticated
from skylane.server.core.token_scope import ACTIONS, ANYONE, Action, Grant

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
LIVE, EXPIRED, WIDE = "sky_live", "sky_expired", "sky_wide"
FILE = "\n".join(
    [
        entry("live", Token(sha256=hash_of(LIVE), models=("flights", "wine-*"))),
        entry("expired", Token(sha256=hash_of(EXPIRED), expires_at=datetime(2026, 6, 1, tzinfo=UTC))),
        entry("wide", Token(sha256=hash_of(WIDE), actions=("admin",), expires_at=datetime(2026, 6, 2, tzinfo=UTC))),
    ]
).encode()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="none is sent"),
        pytest.param("", id="it is empty"),
        pytest.param(LIVE, id="it has no scheme"),
        pytest.param(f"Basic {LIVE}", id="the scheme is another"),
        pytest.param("Bearer", id="it has no token"),
        pytest.param("Bearer sky_unknown", id="the token is unknown"),
        pytest.param(f"Bearer {LIVE} {LIVE}", id="there are two tokens"),
        pytest.param(f"Bearer {LIVE}x", id="something follows the token"),
        pytest.param(f"Bearer {LIVE[:-1]}", id="the end of the token is missing"),
        pytest.param(f"Bearer {hash_of(LIVE)}", id="it is the hash that stands in the file"),
        pytest.param(f"Bearer {EXPIRED}", id="the token has expired"),
        pytest.param("Bearer " + "x" * 10_000, id="it is longer than any token"),
        pytest.param("Bearer \ud800é", id="it is not even text"),
    ],
)
def test_a_header_that_is_refused_hears_the_same_whatever_is_wrong(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        decode(FILE).grant(header, NOW)
    assert str(caught.value) == "this server requires a valid bearer token (authorization: Bearer …)"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_a_token_is_found_however_its_scheme_is_written(scheme: str) -> None:
    assert decode(FILE).grant(scheme + LIVE, NOW).name == "live"


def test_a_kept_grant_still_expires() -> None:
    credentials = decode(FILE)
    grant = credentials.grant(f"Bearer {WIDE}", NOW)
    assert credentials.grant(f"Bearer {WIDE}", grant.ends_at - 1) is grant
    with pytest.raises(Unauthenticated):
        credentials.grant(f"Bearer {WIDE}", grant.ends_at)


@pytest.mark.parametrize(
    ("grant", "action", "model", "allowed"),
    [
        pytest.param(Grant("", frozenset({"predict"}), ("a",)), "predict", "a", True, id="its own model"),
        pytest.param(Grant("", frozenset({"predict"}), ("a",)), "predict", "ab", False, id="a longer name"),
        pytest.param(Grant("", frozenset({"predict"}), ("a*",)), "predict", "ab", True, id="a pattern"),
        pytest.param(Grant("", frozenset({"predict"}), ("a*",)), "predict", "A", False, id="case matters"),
        pytest.param(Grant("", frozenset({"predict"}), ("a",)), "admin", "a", False, id="callers load nothing"),
        pytest.param(Grant("", frozenset({"predict"}), ("*",)), "metrics", "", False, id="callers see no metrics"),
        pytest.param(Grant("", frozenset({"metrics"}), ("*",)), "predict", "a", False, id="watchers do not call"),
        pytest.param(Grant("", frozenset({"admin"}), ("a",)), "predict", "a", True, id="admins may call"),
        pytest.param(Grant("", frozenset({"admin"}), ("a",)), "admin", "b", False, id="admins of some models"),
        pytest.param(Grant("", frozenset({"admin"}), ("a",)), "metrics", "", True, id="admins see the metrics"),
        pytest.param(Grant("", frozenset({"admin"}), ("*",)), "outcome", "a", False, id="admins record no outcomes"),
        pytest.param(Grant("", frozenset({"predict"}), ("*",)), "outcome", "a", False, id="callers record no outcomes"),
        pytest.param(Grant("", frozenset({"outcome"}), ("a",)), "outcome", "a", True, id="its own model's outcomes"),
        pytest.param(Grant("", frozenset({"outcome"}), ("a",)), "outcome", "b", False, id="another model's outcomes"),
        pytest.param(Grant("", frozenset({"outcome"}), ("a",)), "predict", "a", False, id="who records does not call"),
        pytest.param(ANYONE, "outcome", "a", False, id="without tokens a grant alone records nothing"),
        pytest.param(ANYONE, "predict", "a", True, id="without tokens everybody calls"),
        pytest.param(ANYONE, "admin", "a", False, id="without tokens nobody is admin"),
    ],
)
def test_what_a_grant_allows(grant: Grant, action: Action, model: str, allowed: bool) -> None:
    assert grant.may(action, model) is allowed
    if not allowed:
        with pytest.raises(PermissionDenied) as caught:
            grant.check(action, model)
        assert str(caught.value) == "these credentials do not allow this", "it names no model"


@given(st.text(), st.floats(0, 1e10))
def test_no_header_is_a_way_in_but_a_token(header: str, now: float) -> None:
    with pytest.raises(Unauthenticated):
        decode(FILE).grant(header, now)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
PATTERNS = st.lists(st.from_regex(r"[A-Za-z0-9_.*?!\[\]-]{1,20}", fullmatch=True), min_size=1, max_size=3).map(tuple)


@given(NAMES, PATTERNS, st.lists(st.sampled_from(ACTIONS), min_size=1).map(tuple), st.booleans())
def test_an_entry_is_read_as_it_was_written(
    name: str, models: tuple[str, ...], actions: tuple[Action, ...], ends: bool
) -> None:
    expires_at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC) if ends else None
    token = Token(sha256=hash_of("x"), models=models, actions=actions, expires_at=expires_at)
    assert decode(entry(name, token).encode()).tokens == {name: token}


def test_a_secret_is_random_and_known_by_its_beginning() -> None:
    asked: list[int] = []
    assert new_secret(lambda size: asked.append(size) or "chance") == "sky_chance"  # type: ignore[func-returns-value]
    assert asked == [32]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"tokens = 1", "Expected `object`, got `int` - at `$.tokens`", id="not a table"),
        pytest.param(b"[tokens.a]", "missing required field `sha256`", id="no hash"),
        pytest.param(b"[tokens.a]\nsha256 = 'sky_secret'", "Expected `str` matching regex", id="a token, not its hash"),
        pytest.param(b"[tokens.a]\nsecret = 'sky_secret'", "unknown field `secret`", id="an unknown key"),
        pytest.param(b"[tokens.a]\nsha256 = sky_secret", "line 2", id="not TOML"),
        pytest.param(b"\xff", "utf-8", id="not text"),
        pytest.param(b"[tokens.'a b']\nsha256='" + b"0" * 64 + b"'", "regex", id="a name with a space"),
        pytest.param(b"[tokens.a]\nexpires_at = 2026-01-01\nsha256='" + b"0" * 64 + b"'", "expires_at", id="no time"),
        pytest.param(b"[tokens.a]\nactions = ['all']\nsha256='" + b"0" * 64 + b"'", "actions", id="an unknown action"),
        pytest.param(
            b"[tokens.a]\nsha256='%s'\n[tokens.b]\nsha256='%s'" % (b"0" * 64, b"0" * 64), "same sha256", id="one twice"
        ),
    ],
)
def test_a_file_that_is_refused_says_why_and_shows_no_secret(content: bytes, says: str) -> None:
    with pytest.raises(BadTokens) as caught:
        decode(content)
    assert says in str(caught.value)
    assert "sky_secret" not in str(caught.value)
    assert "000" not in str(caught.value)
    assert "sky_secret" not in "".join(traceback.format_exception(caught.value)).replace(repr(content), "")
