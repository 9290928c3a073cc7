"""ONNX Runtime sends nothing to its maker, whichever of our processes imports it."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support import models

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("skylane", "server", "convert", "bench", "examples", "ops", "tests")
THE_DOOR = "skylane.onnx_runtime"

SESSION = """
import sys
from skylane.onnx_runtime import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, in the order of its lines; `from a import b` gives a and a.b."""
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    statements = [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(statements, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_module_imports_it_before_its_telemetry_is_off() -> None:
    offenders = []
    for path in (path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))):
        modules = list(imported(path))
        runtime = next((at for at, name in enumerate(modules) if name.partition(".")[0] == "onnxruntime"), None)
        if (
            runtime is not None
            and THE_DOOR not in modules[:runtime]
            and not path.match("client/skylane/onnx_runtime.py")
        ):
            offenders.append(path.relative_to(ROOT).as_posix())
    assert offenders == [], f"write `from {THE_DOOR} import onnxruntime as ort`"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's graph."""
    return models.linear(tmp_path_factory.mktemp("models")) / "model.onnx"


def at_home(home: Path, **more: str) -> Mapping[str, str]:
    """The environment of a user whose home is new."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    return inherited | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")} | more


def test_a_session_leaves_no_file_behind(tmp_path: Path, graph: Path) -> None:
    subprocess.run([sys.executable, "-c", SESSION, graph], env=at_home(tmp_path), check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


def test_an_operator_who_has_set_the_variable_gets_what_it_says() -> None:
    script = "import os, skylane.onnx_runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = dict(os.environ) | {"ORT_DISABLE_TELEMETRY": "0"}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "0\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_session_opens_no_connection(tmp_path: Path, graph: Path) -> None:
    """It traces what a process does, which some sandboxes forbid."""
    (home := tmp_path / "home").mkdir()
    calls = tmp_path / "calls"
    strace = ["strace", "--follow-forks", "--trace=connect,sendto,sendmsg,sendmmsg", f"--output={calls}"]
    if subprocess.run([*strace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    subprocess.run([*strace, sys.executable, "-c", SESSION, graph], env=at_home(home), check=True, timeout=120)
    assert [line for line in calls.read_text().splitlines() if "AF_INET" in line] == []
