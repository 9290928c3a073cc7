"""Published versions on disk: written atomically, never changed, and the same content never twice.

A version is written to a hidden directory next to its final one, flushed to disk, and renamed. The rename publishes it,
so readers see either no version or a complete one. If the number is taken, the rename fails and the next one is tried.
"""

import os
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
from skylane.reference import beside
from skylane.version_files import REFERENCE_FILE, version_numbers

STAGING_PREFIX = ".staging-"


def versions(repository: Path, name: str) -> Iterator[tuple[int, Path]]:
    """Published versions of a model, the newest first."""
    if not MODEL_NAME.fullmatch(name):
        raise BadArgument(f"{name!r} is not a valid model name: use letters, digits, '_', '-' and '.', at most 100")
    directory = repository / name
    return ((number, directory / str(number)) for number in reversed(version_numbers(directory)))


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
    """The manifest with this version number."""
    return msgspec.structs.replace(manifest, version=version)


def outcome(*, created: bool) -> str:
    """The result of publishing, for messages that continue with "version 3"."""
    return "published as" if created else "unchanged: the same content is already published as"


def put(
    repository: Path,
    graph: bytes,
    manifest: Manifest,
    page: Callable[[Manifest], str] | None = None,
    *,
    again: bool = False,
    reference: bytes | None = None,
) -> tuple[int, Path, bool]:
    """Publish a graph under the next free number, unless a version has the same content; with `again`, even then.

    `page` renders the model card from the manifest; `reference` is the content of reference.json. Returns the number,
    the directory, and whether the version is new. Safe to call from several processes at once. Raises Unwritable.
    """
    name = manifest.model
    try:
        while True:
            # If two processes publish the same content, the rename to this number succeeds for one only.
            number = next((newest for newest, _ in versions(repository, name)), 0) + 1
            existing = None if again else find(repository, name, manifest.identity)
            if existing is not None:
                return *existing, False
            directory = repository / name / str(number)
            if _publish(directory, graph, numbered(manifest, number), page, reference):
                return number, directory, True
    except OSError as error:
        raise Unwritable(f"{error.filename or repository}: the version was not published: {error.strerror}") from error


def put_as(
    repository: Path,
    graph: bytes,
    manifest: Manifest,
    page: Callable[[Manifest], str] | None = None,
    *,
    reference: bytes | None = None,
) -> tuple[Path, bool]:
    """Publish a graph under the number in its manifest. Returns the directory, and whether the version is new.

    Does nothing if that version has the same content. Raises BadArgument if it has different content, and Unwritable.
    """
    directory = repository / manifest.model / str(manifest.version)
    try:
        if _publish(directory, graph, manifest, page, reference):
            return directory, True
    except OSError as error:
        raise Unwritable(f"{error.filename or repository}: the version was not published: {error.strerror}") from error
    existing = read(directory)
    if existing is None or existing.identity != manifest.identity:
        raise BadArgument(
            f"{manifest.model} version {manifest.version} already exists with different content; published versions "
            f"never change: choose another number"
        )
    return directory, False


def has_reference(directory: Path) -> bool:
    """Whether a published version has a reference, in its directory or beside it."""
    return beside(directory).exists() or (directory / REFERENCE_FILE).exists()


def put_reference(directory: Path, content: bytes) -> Path:
    """Write a reference beside a published version, replacing any other. Returns its path; raises Unwritable."""
    path = beside(directory)
    try:
        descriptor, staged = tempfile.mkstemp(prefix=STAGING_PREFIX, dir=directory.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(staged).chmod(0o444)
            Path(staged).replace(path)
        finally:
            Path(staged).unlink(missing_ok=True)
        _flush_directory(directory.parent)
    except OSError as error:
        raise Unwritable(f"{error.filename or path}: the reference was not written: {error.strerror}") from error
    return path


def _publish(
    directory: Path,
    graph: bytes,
    manifest: Manifest,
    page: Callable[[Manifest], str] | None,
    reference: bytes | None,
) -> bool:
    """Write a version and rename it into place. False if its number was taken meanwhile."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    files = {MODEL_FILE: graph, MANIFEST_FILE: encode(manifest)}
    if page is not None:
        files[CARD_FILE] = page(manifest).encode()
    if reference is not None:
        files[REFERENCE_FILE] = reference
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory.parent))
    try:
        for name, content in {**files, SUMS_FILE: sums_of(files)}.items():
            _write(staging / name, content)
        staging.chmod(0o755)  # mkdtemp's mode would deny access to the server
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
    """Sync a directory, so that its entries survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
