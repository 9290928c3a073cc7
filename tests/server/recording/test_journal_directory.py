"""--journal DIR: what it may be is known before anything is served."""

import importlib.util
from pathlib import Path

import pytest

from skylane.server.core.errors import CannotStart
from skylane.server.recording import journal_directory


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_it_is_made_for_its_owner_alone(tmp_path: Path, models: Path) -> None:
    directory = tmp_path / "a" / "journal"
    journal_directory.check(directory, models)
    journal_directory.check(directory, models)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "says"),
    [
        pytest.param("models", "outside the model repository", id="the repository itself"),
        pytest.param("models/wine/journal", "outside the model repository", id="within a model"),
        pytest.param("link/journal", "outside the model repository", id="within it by a link"),
        pytest.param(".", "does not contain the model repository", id="above the repository"),
        pytest.param("file", "expected a directory, received the file", id="a file"),
        pytest.param("file/journal", "expected a directory that can be written", id="below a file"),
        pytest.param("open", "its mode is 755: chmod 700", id="a directory that others can read"),
    ],
)
def test_what_it_must_not_be(tmp_path: Path, models: Path, where: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(models)
    (tmp_path / "open").mkdir(0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(CannotStart) as refused:
        journal_directory.check(tmp_path / where, models)
    assert says in str(refused.value)
    assert str(refused.value).startswith("journal: ")


def test_what_is_not_installed_is_named_with_the_command(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'skylane[monitor]'" in journal_directory.problem_of(tmp_path / "journal", models)
