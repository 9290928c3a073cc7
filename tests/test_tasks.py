"""tasks.py: what each level of tests runs."""

from pathlib import Path

import pytest

import tasks

ROOT = Path(tasks.__file__).parent


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Arguments of each Python that was started, in place of starting it."""
    started: list[tuple[str, ...]] = []

    def run(*arguments: str) -> int:
        started.append(arguments)
        return 0

    monkeypatch.setattr(tasks, "run", run)
    monkeypatch.setattr(tasks, "install", lambda extra: None)
    return started


@pytest.mark.parametrize(
    ("arguments", "selected", "passed_on"),
    [
        pytest.param([], "not slow and not soak", (), id="test"),
        pytest.param(["--all"], "not soak", (), id="test --all"),
        pytest.param(
            ["tests/client", "--all", "-k", "x"], "not soak", ("tests/client", "-k", "x"), id="more arguments"
        ),
    ],
)
def test_levels(
    commands: list[tuple[str, ...]], arguments: list[str], selected: str, passed_on: tuple[str, ...]
) -> None:
    assert tasks.test(arguments) == 0
    assert commands == [("-m", "pytest", "-m", selected, *tasks.IN_PARALLEL, *passed_on)]


def test_soak_passes_minutes_and_seed_on(commands: list[tuple[str, ...]]) -> None:
    assert tasks.soak(["--minutes", "5", "--seed", "7"]) == 0
    fuzz, exhaustive = commands
    assert fuzz == ("-m", "skylane.bench.fuzz", "--minutes", "5.0", "--seed", "7")
    assert exhaustive[:5] == ("-m", "pytest", "-m", "", "--exhaustive")
    assert all((ROOT / file).is_file() for file in exhaustive[5:])


def test_soak_fails_if_either_part_does(commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    results = iter((1, 0))
    monkeypatch.setattr(tasks, "run", lambda *_: next(results))
    assert tasks.soak([]) == 1


@pytest.mark.parametrize("option", ["--minutes", "--seed"])
def test_soak_refuses_what_is_no_number(option: str, commands: list[tuple[str, ...]]) -> None:
    with pytest.raises(SystemExit):
        tasks.soak([option, "x"])
    assert commands == []
