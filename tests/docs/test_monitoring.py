"""The commands at the beginning of docs/monitoring.md, run as they stand in what looks like a fresh clone."""

import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "monitoring.md"
COMMANDS_MAX: Final = 6
SECONDS_MAX: Final = 1800


def commands() -> list[str]:
    """The lines of the page's first block of commands."""
    block = re.search(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository without models, whose .venv is the environment that runs the tests."""
    for name in ("client", "server", "convert", "monitor", "bench", "examples", "proto"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("tasks.py", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "models").mkdir()
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    wrapped = {
        "python": [sys.executable],
        "skylane": [sys.executable, "-c", "import sys; from skylane.cli import main; sys.exit(main())"],
    }
    for name, command in wrapped.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(sys.executable)
    stamp = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    (tmp_path / ".venv" / "installed-examples,monitor").write_text(stamp)
    return tmp_path


def test_there_are_few() -> None:
    assert 1 < len(commands()) <= COMMANDS_MAX


@pytest.mark.slow
def test_they_run_as_they_stand(clone: Path) -> None:
    environment = {"PATH": f"{clone / 'bin'}:/usr/bin:/bin", "HOME": str(clone)}
    said = {}
    for command in commands():
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=clone, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said[command] = done.stdout
    performance, drift, known = (said[command] for command in commands()[2:5])
    assert "all labels known" in performance
    assert "wind_speed ×1.61: mph → km/h?" in drift
    assert "2013-07-01" in drift
    assert re.search(r"not over; \d+ % of labels still to come", known)
    assert (clone / "report.html").stat().st_size > 100_000
