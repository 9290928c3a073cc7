"""Several workers as one: whoever is asked, asks the others.

Each worker answers on a Unix socket in a directory that the supervisor made, and leaves what it told last in a file
beside it. When a worker has ended, however that was, the file stands for it; the supervisor adds it to those who ended
before. So no sum ever falls: at worst, what a worker that was killed had done since it was last asked is missing.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from skylane.server.observability.snapshot import Snapshot, together

log = logging.getLogger(__name__)

ANSWER_S_MAX: Final = 1.0
"""A worker that takes longer counts as it did when it was last asked."""
BYTES_MAX: Final = 64 * 2**20
ENDED: Final = "ended.json"
FOLDED_MAX: Final = 10_000
"""Names of workers that are remembered as added up already; their files are long gone."""

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Snapshot)


class Ended(msgspec.Struct):
    """What workers leave behind that have ended."""

    names: list[str] = []
    figures: Snapshot = msgspec.field(default_factory=Snapshot)


class Shared:
    """This worker among the others. Belongs to one event loop."""

    def __init__(self, directory: Path, own: Callable[[], Snapshot]) -> None:
        """`own` gives this process's figures, now."""
        self._directory, self._own = directory, own
        self._name = f"{os.getpid()}-{time.time_ns()}"
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer the others from now on."""
        path = self._directory / f"{self._name}.sock"
        try:
            self._server = await asyncio.start_unix_server(self._answer, path)
        except OSError as error:  # a path too long for a socket, or a directory that somebody removed
            log.warning("metrics cover one worker at a time: %s: %s", path, error)

    async def close(self) -> None:
        """Leave the last figures behind, and answer no more."""
        self._tell()
        if self._server is not None:
            self._server.close()
            (self._directory / f"{self._name}.sock").unlink(missing_ok=True)

    async def figures(self) -> Snapshot:
        """Those of all workers, and of those that have ended."""
        names = sorted(path.stem for path in self._directory.glob("*-*.sock")) if self._directory.is_dir() else []
        others = [name for name in names if name != self._name]
        told = dict(zip(others, await asyncio.gather(*map(self._ask, others)), strict=True))
        for path in self._directory.glob("*-*.json"):
            if path.stem not in told and path.stem != self._name and (left := _read(path)):
                told[path.stem] = left.counters()
        # Last: a worker whose file was added up after we looked for it is in here, and is not counted twice.
        ended = _ended(self._directory)
        parts = [part for name, part in told.items() if part is not None and name not in ended.names]
        return together([ended.figures, *parts, self._tell()])

    def _tell(self) -> Snapshot:
        """Our own, left in the file before anybody hears them, so that later sums are not smaller."""
        own = self._own()
        try:
            _write(self._directory / f"{self._name}.json", _encoder.encode(own))
        except OSError as error:
            log.warning("the values for metrics cannot be stored: %s", error)
        return own

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_encoder.encode(self._tell()))
            await writer.drain()
        except ConnectionError:
            pass  # whoever asked has gone
        finally:
            writer.close()

    async def _ask(self, name: str) -> Snapshot | None:
        """What a worker tells; what it told last if it does not answer; None if it never told."""
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                reader, writer = await asyncio.open_unix_connection(self._directory / f"{name}.sock", limit=BYTES_MAX)
                with contextlib.closing(writer):
                    return _decoder.decode(await reader.read(-1))
        except (OSError, TimeoutError, msgspec.DecodeError):
            left = _read(self._directory / f"{name}.json")
            return left.counters() if left else None


def fold(directory: Path, pid: int) -> None:
    """A worker has ended: add what it left to what those before it left. For the supervisor alone. Never raises."""
    try:
        for path in sorted(directory.glob(f"{pid}-*.json")):
            if left := _read(path):
                ended = _ended(directory)
                names = [*ended.names, path.stem][-FOLDED_MAX:]
                figures = together([ended.figures, left.counters()])
                _write(directory / ENDED, _encoder.encode(Ended(names, figures)))
            path.unlink()
        for path in directory.glob(f"{pid}-*.sock"):
            path.unlink()
    except OSError as error:
        log.warning("the counts of worker %d are lost: %s", pid, error)


def _ended(directory: Path) -> Ended:
    try:
        return msgspec.json.decode((directory / ENDED).read_bytes(), type=Ended)
    except (FileNotFoundError, msgspec.DecodeError):
        return Ended()


def _read(path: Path) -> Snapshot | None:
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, for whoever reads meanwhile."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
