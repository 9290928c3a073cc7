"""The file of tokens is read again when it changes, and one that is broken changes nothing."""

import logging
from pathlib import Path

import pytest

from skylane.server.auth.authenticator import LOOK_S, Authenticator
from skylane.server.auth.cli import main
from skylane.server.auth.tokens import Token, entry, hash_of
from skylane.server.core.errors import CannotStart, Unauthenticated
from skylane.server.core.token_scope import ANYONE


class Clock:
    """A clock that tests advance, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def tokens(*secrets: str) -> bytes:
    return "\n".join(entry(f"n{i}", Token(sha256=hash_of(secret))) for i, secret in enumerate(secrets)).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tokens.toml"
    made.write_bytes(tokens("one"))
    return made


def test_without_a_file_everybody_may_what_callers_may() -> None:
    authenticator = Authenticator(None)
    assert not authenticator.required
    assert authenticator.grant(None) is ANYONE


def test_a_changed_file_is_taken_over_at_the_next_look(path: Path) -> None:
    clock = Clock()
    authenticator = Authenticator(path, clock)
    path.write_bytes(tokens("two", "three"))
    assert authenticator.grant("Bearer one").name == "n0", "looked at not a second ago"
    clock.now += LOOK_S
    assert authenticator.grant("Bearer three").name == "n1"
    with pytest.raises(Unauthenticated):
        authenticator.grant("Bearer one")


@pytest.mark.parametrize("broken", [b"[tokens.a]\nsha256 = 'sky_secret'", None])
def test_a_broken_file_leaves_the_tokens_as_they_were(
    path: Path, broken: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    authenticator = Authenticator(path, clock)
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    for _ in range(3):
        clock.now += LOOK_S
        assert authenticator.grant("Bearer one").name == "n0"
    assert [record.levelno for record in caplog.records] == [logging.ERROR], "told once"
    assert "the previous ones stay in force" in caplog.text
    assert "sky_secret" not in caplog.text


@pytest.mark.parametrize("broken", [b"tokens = 1", None])
def test_a_server_does_not_start_without_the_tokens_that_it_was_given(path: Path, broken: bytes | None) -> None:
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    with pytest.raises(CannotStart, match=r"^tokens: .*tokens.toml: (Expected|No such file)"):
        Authenticator(path)


class TestCommand:
    def test_a_token_that_it_makes_is_let_in(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "new.toml"
        assert main(["new", "a", "--tokens", str(path), "--models", "wine-*", "--days", "1"]) == 0
        assert main(["new", "b", "--tokens", str(path), "--actions", "admin"]) == 0
        first, second = capsys.readouterr().out.split()
        authenticator = Authenticator(path)
        assert authenticator.grant(f"Bearer {first}").may("predict", "wine-red")
        assert not authenticator.grant(f"Bearer {first}").may("admin")
        assert authenticator.grant(f"Bearer {second}").may("admin", "anything")
        assert first not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0, "nobody else reads it"

    def test_a_name_is_not_given_twice(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = path.read_bytes()
        assert main(["new", "n0", "--tokens", str(path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "n0" in err
        assert path.read_bytes() == before

    @pytest.mark.parametrize("days", ["0", "-1", "x"])
    def test_days_that_are_none(self, path: Path, days: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["new", "x", "--tokens", str(path), "--days", days])
        assert "--days" in capsys.readouterr().err
