"""What a server's processes use while it is measured: read at the start and the end, and by a thread in between."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from skylane.bench.host import processes

SAMPLE_S: Final = 0.25
"""Between two samples. One costs about a millisecond: all of /proc is read to find the process's children."""


@dataclass(frozen=True)
class Usage:
    """CPU and memory of a process tree over time, one value for each sample."""

    at_s: NDArray[np.float64]
    """Since 1970."""
    cpu_s: NDArray[np.float64]
    """CPU used until then."""
    rss_mib: NDArray[np.float64]

    @property
    def used_s(self) -> float:
        """CPU seconds from the first sample to the last."""
        return float(self.cpu_s[-1] - self.cpu_s[0])

    @property
    def cores(self) -> NDArray[np.float64]:
        """CPU seconds per second between each two samples: one value less than samples."""
        used: NDArray[np.float64] = np.diff(self.cpu_s) / np.maximum(np.diff(self.at_s), 1e-9)
        return used


class UsageMonitor:
    """Samples from the start of the block to its end."""

    def __init__(self, pid: int, sample_s: float | None = SAMPLE_S) -> None:
        """`sample_s`: between two samples; None: none but the first and the last."""
        self._pid, self._sample_s = pid, sample_s
        self._samples: list[tuple[float, float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server-usage", daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        if self._sample_s is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._sample_s is not None:
            self._thread.join()
        self._sample()

    @property
    def usage(self) -> Usage:
        """Call it after the block."""
        at_s, cpu_s, rss_mib = (np.array(column) for column in zip(*self._samples, strict=True))
        return Usage(at_s, cpu_s, rss_mib)

    def _run(self) -> None:
        while not self._ended.wait(self._sample_s):
            self._sample()

    def _sample(self) -> None:
        self._samples.append((time.time(), processes.cpu_s(self._pid), processes.rss_mib(self._pid)))
