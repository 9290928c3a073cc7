"""SHA-256 of files."""

import hashlib
from pathlib import Path
from threading import Event
from typing import Final

CHUNK_BYTES: Final = 2**20


def sha256_of(path: Path, stop: Event | None = None) -> str:
    """Of a file's content, in hexadecimal. `stop` ends it early, with a result that nobody may use."""
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        while (count := file.readinto(buffer)) and not (stop and stop.is_set()):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()
