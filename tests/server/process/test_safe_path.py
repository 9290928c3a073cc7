"""Processes that we start import our packages, whatever lies in the working directory."""

import ast
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import models
from support.process import Served

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("client", "server", "convert", "monitor", "batch", "features", "bench", "examples", "tools")

TRAPS = ("server", "skylane", "convert", "monitor", "batch", "features", "bench", "grpc", "numpy", "logging", "asyncio")


def module_commands(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each list that begins with `sys.executable` and may run a module: its line and its constants up to `-m`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.List):
            continue
        parts = [ast.unparse(part) for part in node.elts]
        if "sys.executable" in parts:
            after = parts[parts.index("sys.executable") + 1 :]
            if after and after[0] not in ("'-c'", "'-P'"):
                yield node.lineno, after


def test_every_module_that_we_start_is_found_without_the_working_directory() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line} {' '.join(after[:2])}"
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, after in module_commands(path)
    ]
    assert offenders == [], "write [sys.executable, '-P', …]"


def test_workers_are_ours_in_a_folder_with_a_file_of_each_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-m` alone puts the working directory first: a user's server.py would run in place of a worker."""
    models.linear(tmp_path / "models")
    (folder := tmp_path / "folder").mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong file was run')\n")
    monkeypatch.chdir(folder)
    with Served("--models", str(tmp_path / "models"), "--workers", "2") as served:
        served.until("with 2 workers")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert "the wrong file" not in served.rest()
