"""What lies in the model repository's directory. Reads names, sizes and policies; loads nothing."""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylane import policy as policies
from skylane.manifest import MODEL_NAME
from skylane.policy import BadPolicy, Policy

POLICY_FILE = "model.toml"
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_NOT_OURS = frozenset({"lost+found", "__pycache__", POLICY_FILE})
"""Directories that file systems and tools make; and one of which is told already that it is no policy."""
NOT_A_MODEL = "expected a model's name: up to 100 letters, digits, '_', '.' and '-', the first a letter or a digit"

Stamp = tuple[tuple[str, int, int], ...]
"""(name, modification time in ns, bytes) of each file of a version: it differs if any file was touched."""


Glance = tuple[tuple[int, ...], ...]
"""What the file system says of some paths, without looking into them."""


@dataclass(frozen=True)
class ModelOnDisk:
    """One model's directory."""

    versions: Mapping[int, Stamp]
    policy: bytes
    """Content of model.toml; empty if there is none, or it cannot be read."""
    unreadable: str = ""
    """Why nothing can be known of the model at the moment; empty if it can."""
    policy_unreadable: str = ""
    """Why model.toml cannot be read; empty if it can, or is not there."""

    def decoded(self) -> Policy:
        """What model.toml says. Raises BadPolicy if it cannot be read or used."""
        if self.policy_unreadable:
            raise BadPolicy(f"{POLICY_FILE}: it cannot be read: {self.policy_unreadable}")
        return policies.decode(self.policy)


def directories(root: Path) -> list[Path]:
    """Where models lie, or may lie soon, by name. Raises OSError."""
    return [path for path in sorted(root.iterdir()) if MODEL_NAME.fullmatch(path.name) and path.is_dir()]


def scan(root: Path) -> dict[str, ModelOnDisk]:
    """Every model with a version. Raises OSError if the root cannot be read; what vanishes meanwhile is left out."""
    models = {}
    for directory in directories(root):
        try:
            policy, policy_unreadable = _policy(directory)
            model = ModelOnDisk(_versions(directory), policy, policy_unreadable=policy_unreadable)
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


def _policy(directory: Path) -> tuple[bytes, str]:
    """Content of model.toml, and why it cannot be read."""
    try:
        return (directory / POLICY_FILE).read_bytes(), ""
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        return b"", error.strerror or str(error)


def misplaced(root: Path) -> dict[str, str]:
    """Directories that are taken for no model or no version, by their path in the repository, and what was expected.

    Hidden ones are nobody's mistake: versions that are being written are. Raises OSError if the root cannot be read.
    """
    found = {}
    for path in sorted(root.iterdir()):
        if not _meant(path):
            continue
        if not MODEL_NAME.fullmatch(path.name):
            found[path.name] = NOT_A_MODEL
            continue
        with contextlib.suppress(OSError):  # what cannot be read is told of as such
            inside = [child for child in sorted(path.iterdir()) if child.is_dir()]
            if not inside:
                found[path.name] = f"it has no version, expected {path.name}/<number>/manifest.json"
            for child in inside:
                if _meant(child) and not _VERSION.fullmatch(child.name):
                    found[f"{path.name}/{child.name}"] = f"expected a version's number, as in {path.name}/1"
    return found


def _meant(path: Path) -> bool:
    """Whether somebody may have meant this as a model or a version."""
    return not path.name.startswith(".") and path.name not in _NOT_OURS and path.is_dir()


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
