"""Scans the model repository's directory. Reads names, sizes and policies; loads nothing."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from skylane import policy as policies
from skylane.manifest import MODEL_NAME
from skylane.policy import BadPolicy, Policy
from skylane.regular_files import is_inside, read_regular
from skylane.server.repository import foreign_layouts
from skylane.version_files import VERSION_NUMBER

POLICY_FILE: Final = "model.toml"
POLICY_BYTES_MAX: Final = 64 * 2**10
EMPTY_FILE: Final = ".empty"
"""A file that marks a directory as empty on purpose: without it, one whose content vanished is taken for a fault."""
_NOT_OURS: Final = frozenset({"lost+found", "__pycache__", POLICY_FILE})
"""Directories that file systems and tools make; and one that has a message of its own if it is a directory."""
NOT_A_MODEL: Final = (
    "expected a model's name: up to 100 letters, digits, '_', '.' and '-', the first a letter or a digit"
)
LINK_OUTSIDE: Final = "it is a link that leaves the repository, expected a directory inside"


class FileStamp(NamedTuple):
    """What the file system reports about one file of a version."""

    name: str
    modified_ns: int
    changed_ns: int
    """When anything about it changed, which no tool can set back."""
    bytes: int
    inode: int


Stamp = tuple[FileStamp, ...]
"""Of a version's directory (".") and each file in it: it differs if any was touched, or took the place of another."""

TimeStamps = tuple[tuple[int, ...], ...]
"""Of some paths, what the file system reports about each, without reading its content."""


@dataclass(frozen=True)
class ModelOnDisk:
    """One model's directory."""

    versions: Mapping[int, Stamp]
    policy: bytes
    """Content of model.toml; empty if there is none, or it cannot be read."""
    unreadable: str = ""
    """Why the model's directory cannot be read at the moment; empty if it can."""
    policy_unreadable: str = ""
    """Why model.toml cannot be read; empty if it can, or is not there."""

    def decoded(self) -> Policy:
        """What model.toml says. Raises BadPolicy if it cannot be read or used."""
        if self.policy_unreadable:
            raise BadPolicy(f"{POLICY_FILE}: it cannot be read: {self.policy_unreadable}")
        return policies.decode(self.policy)


@dataclass
class RepositoryScan:
    """What lies in a repository at one moment."""

    models: dict[str, ModelOnDisk] = field(default_factory=dict)
    """Every model with a version, and every model that cannot be read, sorted by name."""
    emptied: set[str] = field(default_factory=set)
    """Directories of models without a version, unless EMPTY_FILE marks them as empty on purpose."""
    is_meant_empty: bool = False
    """Whether EMPTY_FILE marks the repository as empty on purpose."""
    misplaced: dict[str, str] = field(default_factory=dict)
    """Directories that are neither a model nor a version, by their path in the repository → what was expected.

    Hidden directories are left out: versions that are being written are hidden."""
    watched: list[str] = field(default_factory=list)
    """Paths of the directories, whose times change when an entry is added or removed, and of the policies."""

    @property
    def is_empty(self) -> bool:
        """Whether no model has a directory, and the repository is not marked as empty on purpose."""
        return not (self.models or self.watched[1:] or self.is_meant_empty)


def scan(root: Path, before_reading: Callable[[str], object] = len, skipped: Mapping[str, str] = {}) -> RepositoryScan:
    """Read the whole repository. Raises OSError if the root cannot be read; what vanishes during the scan is left out.

    `before_reading` is called with each directory before it is read, which may take long. `skipped`: paths of
    directories that are not read → why.
    """
    result = RepositoryScan(watched=[str(root)])
    before_reading(str(root))
    with os.scandir(root) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = entry.name
        if why := skipped.get(entry.path):
            if MODEL_NAME.fullmatch(name):
                result.models[name] = ModelOnDisk({}, b"", why)
            continue
        before_reading(entry.path)
        if name == EMPTY_FILE:
            result.is_meant_empty = True
        if name.startswith(".") or name in _NOT_OURS:
            continue
        try:
            is_directory = _is_directory(entry)
        except OSError as error:
            result.models[name] = ModelOnDisk({}, b"", str(error))
            continue
        if not is_directory:
            if name.endswith(".onnx"):
                result.misplaced[name] = foreign_layouts.advice_for_file(Path(entry.path))
        elif not MODEL_NAME.fullmatch(name):
            result.misplaced[name] = NOT_A_MODEL
        elif _points_outside(entry, root):
            result.misplaced[name] = LINK_OUTSIDE
        else:
            result.watched.append(entry.path)
            _scan_model(root, entry, result)
    return result


def _scan_model(root: Path, directory: os.DirEntry[str], result: RepositoryScan) -> None:
    model, policy, policy_unreadable, is_being_written = directory.name, b"", "", False
    versions, misplaced, names = dict[int, Stamp](), dict[str, str](), set[str]()
    try:
        with os.scandir(directory.path) as entries:
            for entry in entries:
                names.add(entry.name)
                if entry.name == POLICY_FILE:
                    result.watched.append(entry.path)
                    policy, policy_unreadable = _policy(root, Path(entry.path))
                elif entry.name in _NOT_OURS or not _is_directory(entry):
                    continue
                elif entry.name.startswith("."):
                    is_being_written = True
                elif not VERSION_NUMBER.fullmatch(entry.name):
                    misplaced[f"{model}/{entry.name}"] = f"expected a version's number, as in {model}/1"
                elif _points_outside(entry, root):
                    misplaced[f"{model}/{entry.name}"] = LINK_OUTSIDE
                elif (stamp := _stamp(entry)) is not None:
                    versions[int(entry.name)] = stamp
    except FileNotFoundError:
        return
    except OSError as error:
        result.models[model] = ModelOnDisk({}, b"", str(error))
        return
    result.misplaced |= dict(sorted(misplaced.items()))
    if versions:  # while its first version is being written, it is not a model yet
        result.models[model] = ModelOnDisk(versions, policy, policy_unreadable=policy_unreadable)
        return
    if EMPTY_FILE not in names:
        result.emptied.add(model)
    if not misplaced and not is_being_written:
        advice = foreign_layouts.advice_for_model(Path(root, model), frozenset(names))
        result.misplaced[model] = advice or f"it has no version, expected {model}/<number>/manifest.json"


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a directory or a link to one. Raises OSError, but not for a circular link."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _points_outside(entry: os.DirEntry[str], root: Path) -> bool:
    return entry.is_symlink() and not is_inside(Path(entry.path), root)


def _stamp(version: os.DirEntry[str]) -> Stamp | None:
    """None if it has vanished."""
    try:
        with os.scandir(version.path) as entries:
            files = [(".", os.stat(version.path)), *sorted((entry.name, entry.stat()) for entry in entries)]
    except FileNotFoundError:
        return None
    return tuple(FileStamp(name, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino) for name, stat in files)


def _policy(root: Path, path: Path) -> tuple[bytes, str]:
    """Content of model.toml, and why it cannot be read."""
    try:
        if path.is_symlink() and not is_inside(path, root):
            return b"", "it is a link that leaves the repository, expected a file inside"
        return read_regular(path, POLICY_BYTES_MAX), ""
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        return b"", error.strerror or str(error)


def time_stamps(paths: Iterable[str], before_reading: Callable[[str], object] = len) -> TimeStamps:
    """Times, size and inode of each path; takes a microsecond or two per path.

    The result differs if a directory got or lost an entry, or a file was written, replaced or linked elsewhere. On a
    file system that keeps no such times it may not.
    """
    return tuple(_time_stamp(path, before_reading) for path in paths)


def _time_stamp(path: str, before_reading: Callable[[str], object]) -> tuple[int, ...]:
    """Empty if the path does not exist or cannot be read. Of a link, that of its target."""
    before_reading(path)
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
