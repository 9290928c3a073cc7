"""Collects the lineage of a version: time, library versions, git revision, machine and hashes."""

import datetime
import hashlib
import os
import pickle
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import skops.io

from skylane.manifest import Lineage

LIBRARIES: Final = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy", "pandas", "skops")
"""Packages that every conversion uses; others are recorded if the pipeline's classes come from them."""

GRAPH_LIBRARIES: Final = ("onnx", "onnxruntime", "numpy")
"""Packages that an import uses."""


def lineage(
    estimator: Any,
    *,
    pipeline_sha256: str | None,
    data_sha256: str | None,
    metrics: Mapping[str, float],
    code: Path,
    loaded: str | None = None,
) -> Lineage:
    """The lineage of a version made now. `code`: a directory of the checkout that trained it."""
    return Lineage(
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        estimator=" ".join(repr(estimator).split()),
        pipeline_sha256=pipeline_sha256 or _sha256_of(estimator),
        data_sha256=data_sha256,
        code_revision=_revision(code),
        libraries=_libraries(estimator),
        machine=_machine(),
        loaded=loaded,
        metrics={name: float(value) for name, value in metrics.items()},
    )


def lineage_of_graph(producer: str, file_sha256: str) -> Lineage:
    """The lineage of a graph that is imported now. `producer`: the tool that made it."""
    return Lineage(
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        estimator=producer,
        pipeline_sha256=file_sha256,
        data_sha256=None,
        code_revision=None,
        libraries={"python": platform.python_version(), **{name: version(name) for name in GRAPH_LIBRARIES}},
        machine=_machine(),
    )


def fingerprint(rows: Any) -> str:
    """SHA-256 over the values, and a frame's column names, in their order: equal for equal rows in memory."""
    if not isinstance(rows, pd.DataFrame):
        array = np.ascontiguousarray(rows)
        content = array.tobytes() if array.dtype.kind != "O" else repr(array.tolist()).encode()
        return hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode() + content).hexdigest()
    digest = hashlib.sha256("\n".join(f"{name}\t{dtype}" for name, dtype in rows.dtypes.items()).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _libraries(estimator: Any) -> dict[str, str]:
    """Versions of Python, of the packages that are always used, and of those that the pipeline's classes come from."""
    packages = {type(step).__module__.partition(".")[0] for step in _steps(estimator)}
    of_package = packages_distributions()
    others = sorted({name for package in packages for name in of_package.get(package, ())} - set(LIBRARIES))
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **{name: version(name) for name in others},
    }


def _steps(estimator: Any) -> Iterator[Any]:
    """The estimator and all its parameters, at any depth."""
    yield estimator
    if hasattr(estimator, "get_params"):
        for value in estimator.get_params(deep=True).values():
            if hasattr(value, "get_params"):
                yield value


def _machine() -> str:
    """Such as "AMD EPYC 7B13, 2 cores, Linux x86_64"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {cores} core{'s' * (cores != 1)}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown processor"


def _sha256_of(estimator: Any) -> str:
    try:
        dump = skops.io.dumps(estimator)
    except Exception:  # skops cannot write every object; the hash only identifies it, and need not restore it
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
