"""Computes rates and latencies from two snapshots of a server's metrics, as read from /live/events. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Snapshot = Mapping[str, Any]
Version = Mapping[str, Any]


@dataclass
class Window:
    """The figures of one version, or of several together, over an interval."""

    seconds: float
    bounds_s: Sequence[float]
    requests: int = 0
    errors: int = 0
    faults: int = 0
    """Errors that are the server's own."""
    saved: int = 0
    """Requests answered without a run."""
    missed: int = 0
    """Requests that were looked up in the cache without a hit."""
    waiting: int = 0
    """Waiting rows at the end of the interval."""
    cache_bytes: int = 0
    rows: float = 0.0
    batches: int = 0
    buckets: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def batch_rows(self) -> float | None:
        """Mean number of rows of a batch; None if nothing ran."""
        return self.rows / self.batches if self.batches else None

    @property
    def error_share(self) -> float | None:
        """Share of all requests; None if there were none."""
        return self.errors / self.requests if self.requests else None

    @property
    def fault_share(self) -> float | None:
        """Share of all requests; None if there were none."""
        return self.faults / self.requests if self.requests else None

    @property
    def saved_share(self) -> float | None:
        """Share of all requests; None if there is no cache or it was not used."""
        return self.saved / self.requests if self.requests and self.saved + self.missed else None

    def percentile(self, share: float) -> float | None:
        """Quantile of the seconds from queue to answer, interpolated as Prometheus does. None if nothing ran."""
        rank, below = sum(self.buckets) * share, 0
        for place, count in enumerate(self.buckets):
            if count and below + count >= rank:
                if place >= len(self.bounds_s):
                    return self.bounds_s[-1]
                low = self.bounds_s[place - 1] if place else 0.0
                return low + (self.bounds_s[place] - low) * (rank - below) / count
            below += count
        return None


def between(now: Snapshot, before: Snapshot, model: str | None = None, version: int = 0) -> Window:
    """The figures of this version, or of all versions and of requests that were refused before they reached a model."""
    window = Window(max(now["at"] - before["at"], 1e-9), now["bounds_s"])
    window.buckets = [0] * (len(window.bounds_s) + 1)
    earlier = {(each["model"], each["version"]): each for each in before["figures"]["versions"]}
    for each in now["figures"]["versions"]:
        if model is None or (each["model"], each["version"]) == (model, version):
            _add(window, each, earlier.get((each["model"], each["version"])))
    if model is None:
        _add(window, _refused(now), _refused(before))
    return window


def _refused(now: Snapshot) -> Version:
    """Predictions that were refused before they reached a model, as if of a version. Excludes health and metrics."""
    outcomes = [each for each in now["figures"]["rejections"] if each["protocol"] not in _OTHERS]
    return {**_NOTHING, "outcomes": outcomes}


def _add(window: Window, now: Version, before: Version | None) -> None:
    if before is None or _requests(now["outcomes"]) < _requests(before["outcomes"]):  # new, or restarted
        before = _NOTHING
    window.requests += _requests(now["outcomes"]) - _requests(before["outcomes"])
    window.errors += _requests(_failed(now)) - _requests(_failed(before))
    window.faults += _requests(_ours(now)) - _requests(_ours(before))
    window.saved += now["hits"] + now["coalesced"] - before["hits"] - before["coalesced"]
    window.missed += now["misses"] - before["misses"]
    window.waiting += now["queue_rows"]
    window.cache_bytes += now["cache_bytes"]
    window.rows += now["batch_rows"]["total"] - before["batch_rows"]["total"]
    window.batches += sum(now["batch_rows"]["buckets"]) - sum(before["batch_rows"]["buckets"])
    for place, count in enumerate(now["total"]["buckets"]):
        earlier = before["total"]["buckets"]
        window.buckets[place] += count - (earlier[place] if place < len(earlier) else 0)


_EMPTY = {"buckets": (), "total": 0.0}
_NOTHING: Version = {
    "outcomes": (),
    "hits": 0,
    "misses": 0,
    "coalesced": 0,
    "queue_rows": 0,
    "cache_bytes": 0,
    "batch_rows": _EMPTY,
    "total": _EMPTY,
}
_OTHERS = ("grpc", "http")
"""Protocols of requests that are not predictions."""
_FAULTS = ("ModelFailed", "INTERNAL")


def _requests(outcomes: Iterable[Mapping[str, Any]]) -> int:
    return sum(each["requests"] for each in outcomes)


def _failed(version: Version) -> Iterator[Mapping[str, Any]]:
    return (each for each in version["outcomes"] if each["error"])


def _ours(version: Version) -> Iterator[Mapping[str, Any]]:
    return (each for each in version["outcomes"] if each["error"] in _FAULTS)


def cores(now: Snapshot, before: Snapshot) -> float:
    """CPU usage of all processes, in cores."""
    earlier = {each["pid"]: each["cpu_s"] for each in before["figures"]["processes"]}
    used: float = sum(each["cpu_s"] - earlier.get(each["pid"], each["cpu_s"]) for each in now["figures"]["processes"])
    seconds: float = now["at"] - before["at"]
    return used / max(seconds, 1e-9)


# --- Formatting -------------------------------------------------------------------------------------------------------


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def count_text(value: float | None) -> str:
    """A number in few characters."""
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{_short(value / 1e6)} M"
    if value >= 1e4:
        return f"{_short(value / 1e3)} k"
    return f"{value:.0f}" if value == int(value) else _short(value)


def time_text(seconds: float | None) -> str:
    """A duration in few characters."""
    if seconds is None:
        return "–"
    if seconds < 1e-3:
        return f"{_short(seconds * 1e6)} µs"
    return f"{_short(seconds * 1e3)} ms" if seconds < 1 else f"{_short(seconds)} s"


def bytes_text(size: float) -> str:
    """A size in few characters."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{_short(size / scale)} {unit}"
    return f"{size:.0f} B"


def share_text(share: float | None) -> str:
    """A percentage in few characters."""
    return "–" if share is None else f"{share * 100:.{1 if 0 < share < 0.1 else 0}f} %"
