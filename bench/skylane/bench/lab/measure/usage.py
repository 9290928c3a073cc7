"""What the server's processes use while they are measured: looked at a few times a second, from a thread."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from skylane.bench import processes

LOOK_S: Final = 0.25
"""Between two looks. One costs about a millisecond: all of /proc is read to find the process's children."""


@dataclass(frozen=True)
class Usage:
    """CPU and memory of a process tree over time, one value for each look."""

    at_s: NDArray[np.float64]
    """Since 1970."""
    cpu_s: NDArray[np.float64]
    """CPU used until then."""
    rss_mib: NDArray[np.float64]

    @property
    def used_s(self) -> float:
        """CPU seconds from the first look to the last."""
        return float(self.cpu_s[-1] - self.cpu_s[0])

    @property
    def cores(self) -> NDArray[np.float64]:
        """CPU seconds per second between each two looks: one value less than looks."""
        used: NDArray[np.float64] = np.diff(self.cpu_s) / np.maximum(np.diff(self.at_s), 1e-9)
        return used


class Watch:
    """Looks from the start of the block to its end."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looks: list[tuple[float, float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage-of-the-server", daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def usage(self) -> Usage:
        """What was seen; call it after the block."""
        at_s, cpu_s, rss_mib = (np.array(column) for column in zip(*self._looks, strict=True))
        return Usage(at_s, cpu_s, rss_mib)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        self._looks.append((time.time(), processes.cpu_s(self._pid), processes.rss_mib(self._pid)))
