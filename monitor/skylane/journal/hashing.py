"""Values replaced by keyed hashes: equal values stay equal, and only the installation's key tells which they were.

A hash is `h:` and the first 16 hexadecimal digits of the HMAC-SHA256 of the value's text. The key is made once for each
journal directory, in the file `key` that only its owner can read.
"""

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal import layout
from skylane.journal.errors import JournalError, JournalNotFound

KEY_FILE: Final = "key"
KEY_BYTES: Final = 32
PREFIX: Final = "h:"
DIGITS: Final = 16
KNOWN_MAX: Final = 65_536
"""Hashes that are remembered."""
WHOLE_MAX: Final = 2.0**53
"""Above it a float64 no longer holds every whole number."""


def read_key(directory: Path) -> bytes:
    """The journal's key. Raises JournalNotFound if there is none, and JournalError if it is no key."""
    path = directory / KEY_FILE
    try:
        text = path.read_text("ascii").strip()
        key = bytes.fromhex(text)
    except FileNotFoundError:
        raise JournalNotFound(f"{path}: there is no key; a server that journals to {directory} makes it") from None
    except (OSError, ValueError) as error:
        raise JournalError(f"{path}: cannot be read as a key: {error}") from error
    if len(key) != KEY_BYTES:
        raise JournalError(f"{path}: expected {2 * KEY_BYTES} hexadecimal digits, received {len(text)} characters")
    return key


def make_key(directory: Path) -> bytes:
    """The journal's key, made if there is none. Processes that do so at once agree. Raises OSError, JournalError."""
    layout.make_directory(directory)
    path = directory / KEY_FILE
    if not path.exists():
        staging = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}{layout.STAGING}")
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, layout.FILE_MODE)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(staging, path)
        finally:
            staging.unlink(missing_ok=True)
    return read_key(directory)


def hash_text(key: bytes, text: str) -> str:
    """The hash of one value."""
    return PREFIX + hmac.digest(key, text.encode(), "sha256").hex()[:DIGITS]


def hash_column(key: bytes, values: Any) -> pa.Array:
    """The hashes of a column's values; null stays null."""
    return Hasher(key).column(values)


class Hasher:
    """Hashes columns with one key, and remembers the hashes of recent values: most columns repeat them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def column(self, values: Any) -> pa.Array:
        """The hashes of a column's values; null stays null. Each distinct value is hashed once."""
        encoded = texts(values).dictionary_encode()
        hashes = pa.array([self._hash(text) for text in encoded.dictionary.to_pylist()], pa.string())
        return hashes.take(encoded.indices)

    def _hash(self, text: str) -> str:
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[text] = hash_text(self._key, text)
        return known


def texts(values: Any) -> pa.Array:
    """The values of a column as strings: whole numbers without a point, whatever their type; NaN and None as null."""
    array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    if not pa.types.is_floating(array.type):
        return array.cast(pa.string())
    numbers = array.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), WHOLE_MAX)).fill_null(False)
    as_whole = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, as_whole, numbers.cast(pa.string()))
