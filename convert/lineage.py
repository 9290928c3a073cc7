"""Who made a version, from what, when. Reads the clock, the installed packages and git; decides nothing."""

import datetime
import hashlib
import pickle
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import skops.io

from skylane.manifest import Lineage

LIBRARIES: Final = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "pandas")


def lineage(
    estimator: Any,
    *,
    pipeline_sha256: str | None,
    data_sha256: str | None,
    metrics: Mapping[str, float],
    code: Path,
) -> Lineage:
    """Everything about the origin of a version made now. `code`: a directory of the checkout that trained it."""
    return Lineage(
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        estimator=" ".join(repr(estimator).split()),
        pipeline_sha256=pipeline_sha256 or _sha256_of(estimator),
        data_sha256=data_sha256,
        code_revision=_revision(code),
        libraries={name: version(name) for name in LIBRARIES},
        metrics={name: float(value) for name, value in metrics.items()},
    )


def _sha256_of(estimator: Any) -> str:
    try:
        dump = skops.io.dumps(estimator)
    except Exception:  # skops cannot write every object; the sum is a fingerprint, not a way back
        dump = pickle.dumps(estimator)
    return hashlib.sha256(dump).hexdigest()


def _revision(code: Path) -> str | None:
    """The commit, with "-dirty" if tracked files differ from it; None outside a repository."""
    commit = _git(code, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if _git(code, "status", "--porcelain", "--untracked-files=no") else commit


def _git(code: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", code, *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
