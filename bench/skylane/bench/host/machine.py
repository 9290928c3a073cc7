"""What a result depends on besides the code: the machine, the libraries, the revision."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

LIBRARIES: Final = (
    "skylane", "hpack", "grpcio", "protobuf", "numpy", "onnxruntime", "scikit-learn", "skl2onnx",
    "fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "joblib",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it ran."""

    cpu: str
    cores: int
    """That this process may use."""
    memory_mib: float
    kernel: str
    python: str
    load_before: float
    """Processes that wanted a core in the minute before: above about 0.3 somebody else was at work."""


def machine() -> Machine:
    """This one. Linux's /proc is read; what it does not tell is empty."""
    return Machine(
        cpu=_first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def libraries() -> dict[str, str]:
    """Versions of what is measured; those that are missing say so, because FastAPI is slower without some."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def commit() -> str:
    """Short revision of the code that runs, with `+` if files differ from it; "unknown" outside a checkout."""
    root = Path(__file__).resolve().parent
    try:
        revision = _git(root, "rev-parse", "--short=9", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return revision + "+" * bool(changed)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _first_value(path: Path, key: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
