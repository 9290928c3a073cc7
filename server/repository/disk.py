"""What lies in the model repository's directory. Reads names, sizes and policies; loads nothing."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylane.manifest import MODEL_NAME

POLICY_FILE = "model.toml"
_VERSION = re.compile(r"[1-9][0-9]{0,17}")

Stamp = tuple[tuple[str, int, int], ...]
"""(name, modification time in ns, bytes) of each file of a version: it differs if any file was touched."""


Glance = tuple[tuple[int, ...], ...]
"""What the file system says of some paths, without looking into them."""


@dataclass(frozen=True)
class ModelOnDisk:
    """One model's directory."""

    versions: Mapping[int, Stamp]
    policy: bytes
    """Content of model.toml; empty if there is none."""
    unreadable: str = ""
    """Why nothing can be known of the model at the moment; empty if it can."""


def directories(root: Path) -> list[Path]:
    """Where models lie, or may lie soon, by name. Raises OSError."""
    return [path for path in sorted(root.iterdir()) if MODEL_NAME.fullmatch(path.name) and path.is_dir()]


def scan(root: Path) -> dict[str, ModelOnDisk]:
    """Every model with a version. Raises OSError if the root cannot be read; what vanishes meanwhile is left out."""
    models = {}
    for directory in directories(root):
        try:
            model = ModelOnDisk(_versions(directory), _policy(directory))
        except FileNotFoundError:
            continue
        except OSError as error:
            model = ModelOnDisk({}, b"", str(error))
        if model.versions or model.unreadable:  # a model whose first version is being written is none yet
            models[directory.name] = model
    return models


def _versions(directory: Path) -> dict[int, Stamp]:
    versions = {}
    for child in directory.iterdir():
        if _VERSION.fullmatch(child.name) and child.is_dir():
            try:
                files = sorted((file.name, file.stat()) for file in child.iterdir())
            except FileNotFoundError:
                continue
            versions[int(child.name)] = tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)
    return versions


def _policy(directory: Path) -> bytes:
    try:
        return (directory / POLICY_FILE).read_bytes()
    except FileNotFoundError:
        return b""


def glance(paths: Iterable[str]) -> Glance:
    """Times, size and place of each, a microsecond or two for one. Differs if a directory got or lost an entry, or a
    file was written, replaced or linked elsewhere; where the file system keeps no such times, it may not."""
    return tuple(_seen(path) for path in paths)


def _seen(path: str) -> tuple[int, ...]:
    """Nothing if it is not there or cannot be asked. A link stands for what it leads to."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
