"""The files of a published version: opened once, verified, and handed on as what was verified.

A version is a directory `models/<name>/<version>/` that never changes once it has its name:

    model.onnx      the graph
    manifest.json   what it promises, see client/skylane/manifest.py
    card.html       the same for people, if the converter wrote one
    reference.json  what its rows look like by blocks of time, if the converter was given their times
    SHA256SUMS      the SHA-256 of every other file, in the format of `sha256sum --check`

The converter writes it, the server verifies it before anything is loaded.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from skylane.regular_files import is_inside, open_regular, read_regular

MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "card.html"
REFERENCE_FILE: Final = "reference.json"
SUMS_FILE: Final = "SHA256SUMS"

SUMS_BYTES_MAX: Final = 64 * 2**10
MANIFEST_BYTES_MAX: Final = 64 * 2**20
CHUNK_BYTES: Final = 2**20
"""Read and hashed at a time, without the GIL."""

_EXTERNAL_KEY: Final = b"location"
"""The key under which a tensor names the file that holds its values: without it in a graph, no tensor does."""


class BrokenVersion(Exception):
    """The files of a version are missing, damaged or not what they claim; the message says which and how."""


class IncompleteVersion(BrokenVersion):
    """The files are not those that SHA256SUMS lists. So it is, too, while a version is being copied."""


class VersionFiles:
    """A version whose files have been verified. `model` stays open until `close`, so that no other can take its place.

    Raises BrokenVersion for the first file that differs from its sum, is no regular file, or lies outside of `root`
    (None: wherever links lead).
    """

    def __init__(self, directory: Path, root: Path | None = None) -> None:
        self._directory, self._root = directory, root
        self.sha256: Final[Mapping[str, str]] = self._read_sums()
        self._open: dict[str, tuple[int, os.stat_result]] = {}
        self.may_refer_to_files = False
        """Whether the graph may name other files. False: it certainly does not."""
        try:
            self.manifest_json: Final = self._read(MANIFEST_FILE, MANIFEST_BYTES_MAX)
            self._compare(MANIFEST_FILE, hashlib.sha256(self.manifest_json).hexdigest())
            for name in self.sha256:
                if name != MANIFEST_FILE:
                    self._verify(name)
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> int:
        """Descriptor of model.onnx, as it was verified."""
        return self._open[MODEL_FILE][0]

    @property
    def model_bytes(self) -> int:
        """Size of model.onnx."""
        return self._open[MODEL_FILE][1].st_size

    def check_unchanged(self) -> None:
        """Raise BrokenVersion if model.onnx was written to since it was opened: what was loaded may be no version."""
        for name, (descriptor, before) in self._open.items():
            now = os.fstat(descriptor)
            if (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
                raise IncompleteVersion(f"{name}: it was written to while it was loaded")

    def close(self) -> None:
        """Close what is open. Idempotent."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, name: str) -> Path:
        path = self._directory / name
        if self._root is not None and not is_inside(path, self._root):
            raise BrokenVersion(f"{name}: it is a link that leaves the repository, expected a file inside")
        return path

    def _read(self, name: str, bytes_max: int) -> bytes:
        try:
            return read_regular(self._path(name), bytes_max)
        except OSError as error:
            raise _unreadable(name, error) from error

    def _read_sums(self) -> dict[str, str]:
        try:
            lines = self._read(SUMS_FILE, SUMS_BYTES_MAX).decode().splitlines()
        except UnicodeDecodeError as error:
            raise IncompleteVersion(f"{SUMS_FILE}: cannot be read: {error}") from error
        sums = {}
        for line in lines:
            match = re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9_.-]+)", line)
            if match is None:
                raise IncompleteVersion(f"{SUMS_FILE}: not a line of sha256sum: {line[:80]!r}")
            sums[match[2]] = match[1]
        for name in (MODEL_FILE, MANIFEST_FILE):
            if name not in sums:
                raise IncompleteVersion(f"{SUMS_FILE}: does not list {name}")
        return sums

    def _verify(self, name: str) -> None:
        try:
            descriptor = open_regular(self._path(name))
            self._open[name] = descriptor, os.fstat(descriptor)
            digest, refers = _digest(descriptor)
        except OSError as error:
            raise _unreadable(name, error) from error
        self._compare(name, digest)
        if name == MODEL_FILE:
            self.may_refer_to_files = refers
        else:
            os.close(self._open.pop(name)[0])

    def _compare(self, name: str, actual: str) -> None:
        expected = self.sha256[name]
        if actual != expected:
            raise IncompleteVersion(f"{name}: its SHA-256 is {actual[:12]}…, but {SUMS_FILE} lists {expected[:12]}…")


def verify_files(directory: Path) -> None:
    """Compare every file named in SHA256SUMS with its sum. Raises BrokenVersion naming the first that differs."""
    VersionFiles(directory).close()


def sums_of(files: dict[str, bytes]) -> bytes:
    """Content of SHA256SUMS for these files."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def _unreadable(name: str, error: OSError) -> BrokenVersion:
    """Without the path: callers hear this as well."""
    kind = IncompleteVersion if isinstance(error, FileNotFoundError) else BrokenVersion
    return kind(f"{name}: cannot be read: {error.strerror}")


def _digest(descriptor: int) -> tuple[str, bool]:
    """SHA-256 of a whole file, and whether _EXTERNAL_KEY stands anywhere in it. Other threads run meanwhile."""
    digest, refers = hashlib.sha256(), False
    tail = len(_EXTERNAL_KEY) - 1
    buffer = bytearray(tail + min(CHUNK_BYTES, max(os.fstat(descriptor).st_size, 1)))
    view = memoryview(buffer)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        while size := file.readinto(view[tail:]):
            digest.update(view[tail : tail + size])
            refers = refers or buffer.find(_EXTERNAL_KEY, 0, tail + size) >= 0
            view[:tail] = view[size : size + tail]  # it may begin in this chunk and end in the next
    return digest.hexdigest(), refers
