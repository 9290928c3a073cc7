"""What lies in the model repository's directory. Reads names, sizes and policies; loads nothing."""

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from skylane import policy as policies
from skylane.manifest import MODEL_NAME
from skylane.policy import BadPolicy, Policy
from skylane.regular_files import is_inside, read_regular
from skylane.server.repository import foreign_layouts

POLICY_FILE: Final = "model.toml"
POLICY_BYTES_MAX: Final = 64 * 2**10
EMPTY_FILE: Final = ".empty"
"""In a directory that is meant to hold nothing: without it, one that has lost all that it held is taken for a fault."""
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_NOT_OURS: Final = frozenset({"lost+found", "__pycache__", POLICY_FILE})
"""Directories that file systems and tools make; and one of which is told already that it is no policy."""
NOT_A_MODEL: Final = (
    "expected a model's name: up to 100 letters, digits, '_', '.' and '-', the first a letter or a digit"
)
LEAVES: Final = "it is a link that leaves the repository, expected a directory inside"


class FileStamp(NamedTuple):
    """What the file system says of one file of a version."""

    name: str
    modified_ns: int
    changed_ns: int
    """When anything about it changed, which no tool can set back."""
    bytes: int
    inode: int


Stamp = tuple[FileStamp, ...]
"""Of a version's directory (".") and each file in it: it differs if any was touched, or took the place of another."""

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


@dataclass
class Survey:
    """What lies in a repository at one moment."""

    models: dict[str, ModelOnDisk] = field(default_factory=dict)
    """Every model with a version, or of which nothing can be known, by name and in its order."""
    emptied: set[str] = field(default_factory=set)
    """Directories of models without a version, unless a file says that they are meant to be empty."""
    is_meant_empty: bool = False
    """Whether a file says so of the repository."""
    misplaced: dict[str, str] = field(default_factory=dict)
    """What is taken for no model or no version, by its path in the repository → what was expected.

    Hidden ones are nobody's mistake: versions that are being written are."""
    watched: list[str] = field(default_factory=list)
    """Paths of the directories, whose times tell of what came and went, and of the policies."""

    @property
    def is_empty(self) -> bool:
        """Whether no model has a directory, and nobody said that it is meant."""
        return not (self.models or self.watched[1:] or self.is_meant_empty)


def survey(root: Path, reading: Callable[[str], object] = len, silent: Mapping[str, str] = {}) -> Survey:
    """Read the whole repository. Raises OSError if the root cannot be read; what vanishes meanwhile is left out.

    `reading` is called with each directory before it is read, which may take long. `silent`: paths of directories that
    are not read → why.
    """
    seen = Survey(watched=[str(root)])
    reading(str(root))
    with os.scandir(root) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = entry.name
        if why := silent.get(entry.path):
            if MODEL_NAME.fullmatch(name):
                seen.models[name] = ModelOnDisk({}, b"", why)
            continue
        reading(entry.path)
        if name == EMPTY_FILE:
            seen.is_meant_empty = True
        if name.startswith(".") or name in _NOT_OURS:
            continue
        try:
            is_directory = _is_directory(entry)
        except OSError as error:
            seen.models[name] = ModelOnDisk({}, b"", str(error))
            continue
        if not is_directory:
            if name.endswith(".onnx"):
                seen.misplaced[name] = f"`skylane import {name} --name …` makes a version of a plain ONNX file"
        elif not MODEL_NAME.fullmatch(name):
            seen.misplaced[name] = NOT_A_MODEL
        elif _leaves(entry, root):
            seen.misplaced[name] = LEAVES
        else:
            seen.watched.append(entry.path)
            _survey_model(root, entry, seen)
    return seen


def scan(root: Path) -> dict[str, ModelOnDisk]:
    """Every model with a version. Raises OSError if the root cannot be read."""
    return survey(root).models


def misplaced(root: Path) -> dict[str, str]:
    """See Survey. Raises OSError if the root cannot be read."""
    return survey(root).misplaced


def _survey_model(root: Path, directory: os.DirEntry[str], seen: Survey) -> None:
    model, policy, policy_unreadable, is_being_written = directory.name, b"", "", False
    versions, misplaced, names = dict[int, Stamp](), dict[str, str](), set[str]()
    try:
        with os.scandir(directory.path) as entries:
            for entry in entries:
                names.add(entry.name)
                if entry.name == POLICY_FILE:
                    seen.watched.append(entry.path)
                    policy, policy_unreadable = _policy(root, Path(entry.path))
                elif entry.name in _NOT_OURS or not _is_directory(entry):
                    continue
                elif entry.name.startswith("."):
                    is_being_written = True
                elif not _VERSION.fullmatch(entry.name):
                    misplaced[f"{model}/{entry.name}"] = f"expected a version's number, as in {model}/1"
                elif _leaves(entry, root):
                    misplaced[f"{model}/{entry.name}"] = LEAVES
                elif (stamp := _stamp(entry)) is not None:
                    versions[int(entry.name)] = stamp
    except FileNotFoundError:
        return
    except OSError as error:
        seen.models[model] = ModelOnDisk({}, b"", str(error))
        return
    seen.misplaced |= dict(sorted(misplaced.items()))
    if versions:  # a model whose first version is being written is none yet
        seen.models[model] = ModelOnDisk(versions, policy, policy_unreadable=policy_unreadable)
        return
    if EMPTY_FILE not in names:
        seen.emptied.add(model)
    if not misplaced and not is_being_written:
        advice = foreign_layouts.advice_for_model(frozenset(names))
        seen.misplaced[model] = advice or f"it has no version, expected {model}/<number>/manifest.json"


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one. Raises OSError, but not for a link that leads nowhere."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _leaves(entry: os.DirEntry[str], root: Path) -> bool:
    return entry.is_symlink() and not is_inside(Path(entry.path), root)


def _stamp(version: os.DirEntry[str]) -> Stamp | None:
    """Nothing if it has vanished."""
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


def glance(paths: Iterable[str], reading: Callable[[str], object] = len) -> Glance:
    """Times, size and place of each, a microsecond or two for one. Differs if a directory got or lost an entry, or a
    file was written, replaced or linked elsewhere; where the file system keeps no such times, it may not."""
    return tuple(_seen(path, reading) for path in paths)


def _seen(path: str, reading: Callable[[str], object]) -> tuple[int, ...]:
    """Nothing if it is not there or cannot be asked. A link stands for what it leads to."""
    reading(path)
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
