"""Versions on disk: written whole or not at all, never changed, never twice. Knows files and manifests, no models.

A version is written into a hidden directory beside its place, flushed to the disk, and then renamed. The rename is the
publication: readers see nothing or everything. It fails if the number is taken, and then the next one is tried.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from skylane.convert.errors import BadArgument, Unwritable
from skylane.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    MODEL_NAME,
    SUMS_FILE,
    BrokenVersion,
    Manifest,
    decode,
    encode,
    sums_of,
    verify_files,
)

STAGING_PREFIX = ".staging-"


def versions(repository: Path, name: str) -> Iterator[tuple[int, Path]]:
    """Published versions of a model, the newest first."""
    if not MODEL_NAME.fullmatch(name):
        raise BadArgument(f"{name!r} cannot be a model's name: use letters, digits, '_', '-' and '.', at most 100")
    directory = repository / name
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    numbers = sorted((int(found) for found in names if re.fullmatch(r"[1-9][0-9]*", found)), reverse=True)
    return ((number, directory / str(number)) for number in numbers)


def read(directory: Path) -> Manifest | None:
    """The manifest of a published version; None if the version is damaged."""
    try:
        verify_files(directory)
        return decode((directory / MANIFEST_FILE).read_bytes())
    except (BrokenVersion, OSError):
        return None


def find(repository: Path, name: str, identity: str) -> tuple[int, Path] | None:
    """The newest intact version with this content."""
    for number, directory in versions(repository, name):
        manifest = read(directory)
        if manifest is not None and manifest.identity == identity:
            return number, directory
    return None


def numbered(manifest: Manifest, version: int) -> Manifest:
    """The same manifest under another number."""
    return msgspec.structs.replace(manifest, version=version)


def put(
    repository: Path,
    graph: bytes,
    manifest: Manifest,
    page: Callable[[Manifest], str] | None = None,
    *,
    again: bool = False,
) -> tuple[int, Path, bool]:
    """Publish a graph under the next free number, unless a version with this content exists; `again`: even then.

    `page` makes the model card of the manifest, which lies beside it. Returns number, directory, and whether it is
    new. Any number of processes may do this at once. Raises Unwritable.
    """
    name = manifest.model
    try:
        while True:
            # Content and number come from one look at the directory, so of two equal publishers only one can win.
            number = next((newest for newest, _ in versions(repository, name)), 0) + 1
            existing = None if again else find(repository, name, manifest.identity)
            if existing is not None:
                return *existing, False
            directory = repository / name / str(number)
            if _publish(directory, graph, numbered(manifest, number), page):
                return number, directory, True
    except OSError as error:
        raise Unwritable(f"{error.filename or repository}: the version was not published: {error.strerror}") from error


def put_as(
    repository: Path, graph: bytes, manifest: Manifest, page: Callable[[Manifest], str] | None = None
) -> tuple[Path, bool]:
    """Publish a graph under the manifest's own number. Returns the directory, and whether it is new.

    Publishing the same content under the same number again changes nothing. Raises BadArgument if the number has other
    content, and Unwritable.
    """
    directory = repository / manifest.model / str(manifest.version)
    try:
        if _publish(directory, graph, manifest, page):
            return directory, True
    except OSError as error:
        raise Unwritable(f"{error.filename or repository}: the version was not published: {error.strerror}") from error
    existing = read(directory)
    if existing is None or existing.identity != manifest.identity:
        raise BadArgument(
            f"{manifest.model} version {manifest.version} exists already, with other content: published versions never "
            f"change; choose another number"
        )
    return directory, False


def _publish(directory: Path, graph: bytes, manifest: Manifest, page: Callable[[Manifest], str] | None) -> bool:
    """Write a version and give it its name. False if somebody else was first."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    files = {MODEL_FILE: graph, MANIFEST_FILE: encode(manifest)}
    if page is not None:
        files[CARD_FILE] = page(manifest).encode()
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory.parent))
    try:
        for name, content in {**files, SUMS_FILE: sums_of(files)}.items():
            _write(staging / name, content)
        staging.chmod(0o755)  # mkdtemp's own mode would lock the server out
        _flush_directory(staging)
        if directory.exists():  # rename would replace an empty directory
            return False
        try:
            staging.rename(directory)
        except OSError:
            if directory.exists():
                return False
            raise
        _flush_directory(directory.parent)
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)


def _flush_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
