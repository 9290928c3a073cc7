"""Snapshots of all workers: the worker that is asked for metrics asks the others.

Each worker answers on a Unix socket in a directory that the supervisor made, and stores its last snapshot in a file
next to it. When a worker has ended for any reason, the file is used instead; the supervisor merges it with those of
workers that ended before. So sums never fall: at worst, what a killed worker did after its last snapshot is missing.
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

from skylane.server.observability.snapshot import Snapshot, merge

log = logging.getLogger(__name__)

ANSWER_S_MAX: Final = 1.0
"""Of a worker that takes longer, the last snapshot is used."""
BYTES_MAX: Final = 64 * 2**20
ENDED: Final = "ended.json"
FOLDED_MAX: Final = 10_000
"""Most names of merged workers that are kept; the files of the oldest are long gone."""

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Snapshot)


class Ended(msgspec.Struct):
    """The merged snapshots of workers that have ended."""

    names: list[str] = []
    figures: Snapshot = msgspec.field(default_factory=Snapshot)


class WorkerSnapshots:
    """Exchanges snapshots with the other workers. Belongs to one event loop."""

    def __init__(self, directory: Path, own: Callable[[], Snapshot]) -> None:
        """`own` takes a snapshot of this process."""
        self._directory, self._own = directory, own
        self._name = f"{os.getpid()}-{time.time_ns()}"
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer the other workers from now on."""
        path = self._directory / f"{self._name}.sock"
        try:
            self._server = await asyncio.start_unix_server(self._answer, path)
        except OSError as error:  # the path is too long for a socket, or the directory was removed
            log.warning("metrics cover one worker at a time: %s: %s", path, error)

    async def close(self) -> None:
        """Store the last snapshot, and answer no more."""
        self._store_own()
        if self._server is not None:
            self._server.close()
            (self._directory / f"{self._name}.sock").unlink(missing_ok=True)

    async def figures(self) -> Snapshot:
        """The merged snapshot of all workers, including those that have ended."""
        names = sorted(path.stem for path in self._directory.glob("*-*.sock")) if self._directory.is_dir() else []
        others = [name for name in names if name != self._name]
        snapshots = dict(zip(others, await asyncio.gather(*map(self._ask, others)), strict=True))
        for path in self._directory.glob("*-*.json"):
            if path.stem not in snapshots and path.stem != self._name and (last := _read(path)):
                snapshots[path.stem] = last.counters()
        # Read last: a worker whose file was merged meanwhile is in it, and is not counted twice.
        ended = _ended(self._directory)
        parts = [part for name, part in snapshots.items() if part is not None and name not in ended.names]
        return merge([ended.figures, *parts, self._store_own()])

    def _store_own(self) -> Snapshot:
        """Take a snapshot of this process, and store it before it is sent, so that later sums are not smaller."""
        own = self._own()
        try:
            _write(self._directory / f"{self._name}.json", _encoder.encode(own))
        except OSError as error:
            log.warning("the values for metrics cannot be stored: %s", error)
        return own

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_encoder.encode(self._store_own()))
            await writer.drain()
        except ConnectionError:
            pass  # the worker that asked has gone
        finally:
            writer.close()

    async def _ask(self, name: str) -> Snapshot | None:
        """The snapshot of a worker; its last one if it does not answer; None if it has never stored one."""
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                reader, writer = await asyncio.open_unix_connection(self._directory / f"{name}.sock", limit=BYTES_MAX)
                with contextlib.closing(writer):
                    return _decoder.decode(await reader.read(-1))
        except (OSError, TimeoutError, msgspec.DecodeError):
            last = _read(self._directory / f"{name}.json")
            return last.counters() if last else None


def fold(directory: Path, pid: int) -> None:
    """A worker has ended: merge its last snapshot with those of workers before it. For the supervisor. Never raises."""
    try:
        for path in sorted(directory.glob(f"{pid}-*.json")):
            if last := _read(path):
                ended = _ended(directory)
                names = [*ended.names, path.stem][-FOLDED_MAX:]
                figures = merge([ended.figures, last.counters()])
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
    """Write all of it at once, for concurrent readers."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
