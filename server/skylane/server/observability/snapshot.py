"""The figures of one process, and how those of several are merged. Pure.

Counters of processes that have ended are kept: to Prometheus, a sum that falls means that all processes restarted.
Gauges are reported by running processes alone.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import msgspec

Buckets = list[int]
"""Counts per bucket, not cumulative; the last is above every bound."""


class HistogramSnapshot(msgspec.Struct):
    """A distribution of sizes."""

    buckets: Buckets = []
    total: float = 0.0
    """Sum of all sizes: seconds, or rows."""

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.buckets)

    def add(self, other: "HistogramSnapshot") -> None:
        """Add those of another."""
        self.buckets = [ours + others for ours, others in zip_longest(self.buckets, other.buckets, fillvalue=0)]
        self.total += other.total


class Outcome(msgspec.Struct):
    """Number of requests with the same protocol and outcome."""

    protocol: str
    error: str
    """Name of the error's class, or of the status if there was no error; empty for an answer."""
    requests: int


class SizeSnapshot(msgspec.Struct):
    """All batches with this number of rows."""

    rows: int
    executions: int = 0
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0


class VersionSnapshot(msgspec.Struct, kw_only=True):
    """One version, since the server started."""

    model: str
    version: int
    outcomes: list[Outcome] = []
    total: HistogramSnapshot = msgspec.field(default_factory=HistogramSnapshot)
    queue: HistogramSnapshot = msgspec.field(default_factory=HistogramSnapshot)
    run: HistogramSnapshot = msgspec.field(default_factory=HistogramSnapshot)
    batch_rows: HistogramSnapshot = msgspec.field(default_factory=HistogramSnapshot)
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0
    hits: int = 0
    hit_s: float = 0.0
    misses: int = 0
    coalesced: int = 0
    sizes: list[SizeSnapshot] = []
    last_at: float = 0.0
    """When it last answered, in seconds since 1970; 0 if never."""
    queue_rows: int = 0
    cache_bytes: int = 0
    memory_bytes: int = 0
    """Memory that its sessions took when they were created; 0 if unknown."""
    states: dict[str, int] = {}
    """State → number of processes in which the version has it. This, the three fields above and the next one are
    reported by running processes alone."""
    reason: str = ""
    """Why it is not served, or does not follow its present policy."""

    def add(self, other: "VersionSnapshot") -> None:
        """Add those of another."""
        self.outcomes = _outcomes((*self.outcomes, *other.outcomes))
        for name in ("total", "queue", "run", "batch_rows"):
            getattr(self, name).add(getattr(other, name))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sizes = _sizes((*self.sizes, *other.sizes))
        self.last_at = max(self.last_at, other.last_at)
        self.reason = max(self.reason, other.reason)  # independent of the order
        self.states = {
            state: self.states.get(state, 0) + other.states.get(state, 0)
            for state in sorted(self.states.keys() | other.states.keys())
        }


_SUMS = (
    "gather_s", "run_s", "reply_s", "hits", "hit_s", "misses", "coalesced", "queue_rows", "cache_bytes",
    "memory_bytes",
)  # fmt: skip


class LoadSnapshot(msgspec.Struct):
    """Loads of a model's versions."""

    model: str
    loads: int = 0
    seconds: float = 0.0
    failures: int = 0

    def add(self, other: "LoadSnapshot") -> None:
        """Add those of another."""
        self.loads += other.loads
        self.seconds += other.seconds
        self.failures += other.failures


class PolicySnapshot(msgspec.Struct):
    """Whether a model and its policy are followed; reported by running processes alone."""

    model: str
    refused: int = 0
    """Processes in which its model.toml cannot be used."""
    unfollowed: int = 0
    """Processes in which it still serves although its directory is empty, gone or unreadable."""


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """One running process."""

    pid: int
    started_at: float
    """Seconds since 1970."""
    resident_bytes: int
    cpu_s: float


class PortSnapshot(msgspec.Struct):
    """Connections to one port."""

    port: str
    open: int = 0
    """Now; of running processes alone."""
    refused: int = 0
    """Closed at once because the limit was reached."""


class SpanSnapshot(msgspec.Struct):
    """Spans of traces."""

    sent: int = 0
    """Accepted by the collector."""
    lost: int = 0
    """Dropped."""


class JournalSnapshot(msgspec.Struct):
    """What became of the rows that a journalled model answered."""

    model: str
    rows: dict[str, int] = {}
    """`kept`, or why they were not → rows."""
    written_bytes: int = 0
    event_times_refused: int = 0
    """Rows whose time of the event is no instant."""

    def add(self, other: "JournalSnapshot") -> None:
        """Count those of another too."""
        results = sorted(self.rows.keys() | other.rows.keys())
        self.rows = {result: self.rows.get(result, 0) + other.rows.get(result, 0) for result in results}
        self.written_bytes += other.written_bytes
        self.event_times_refused += other.event_times_refused


class ReceiptSnapshot(msgspec.Struct):
    """What the receipts for one model's outcomes say."""

    model: str
    outcomes: dict[str, int] = {}
    """Field of a receipt → outcomes. As in a receipt, repeated, corrected and unknown ones are among the accepted."""

    def add(self, other: "ReceiptSnapshot") -> None:
        """Count those of another too."""
        results = sorted(self.outcomes.keys() | other.outcomes.keys())
        self.outcomes = {result: self.outcomes.get(result, 0) + other.outcomes.get(result, 0) for result in results}


class Event(msgspec.Struct, frozen=True, order=True):
    """A log line."""

    at: float
    """Seconds since 1970."""
    pid: int
    level: str
    text: str


EVENTS_MAX = 60


class Snapshot(msgspec.Struct, kw_only=True):
    """All figures of one process, or of several."""

    versions: list[VersionSnapshot] = []
    rejections: list[Outcome] = []
    """Requests that reached no model: refused before, or to methods and paths other than predictions."""
    loads: list[LoadSnapshot] = []
    policies: list[PolicySnapshot] = []
    ports: list[PortSnapshot] = []
    spans: SpanSnapshot = msgspec.field(default_factory=SpanSnapshot)
    journals: list[JournalSnapshot] = []
    receipts: list[ReceiptSnapshot] = []
    processes: list[ProcessSnapshot] = []
    events: list[Event] = []

    def without_sizes(self) -> "Snapshot":
        """Without `sizes`, for a page that is updated every few seconds."""
        versions = [msgspec.structs.replace(each, sizes=[]) for each in self.versions]
        return msgspec.structs.replace(self, versions=versions)

    def counters(self) -> "Snapshot":
        """What is kept when the process has ended."""
        nothing = {"queue_rows": 0, "cache_bytes": 0, "memory_bytes": 0, "states": {}, "reason": ""}
        versions = [msgspec.structs.replace(each, **nothing) for each in self.versions]
        ports = [msgspec.structs.replace(each, open=0) for each in self.ports]
        return msgspec.structs.replace(self, versions=versions, ports=ports, policies=[], processes=[])


def merge(parts: Iterable[Snapshot]) -> Snapshot:
    """Merge snapshots, without changing them."""
    versions = dict[tuple[str, int], list[VersionSnapshot]]()
    loads = dict[str, LoadSnapshot]()
    ports = dict[str, PortSnapshot]()
    journals = dict[str, JournalSnapshot]()
    receipts = dict[str, ReceiptSnapshot]()
    policies = dict[str, PolicySnapshot]()
    whole = Snapshot()
    for part in parts:
        for version in part.versions:
            versions.setdefault((version.model, version.version), []).append(version)
        for load in part.loads:
            loads.setdefault(load.model, LoadSnapshot(load.model)).add(load)
        for policy in part.policies:
            merged = policies.setdefault(policy.model, PolicySnapshot(policy.model))
            merged.refused += policy.refused
            merged.unfollowed += policy.unfollowed
        for port in part.ports:
            so_far = ports.setdefault(port.port, PortSnapshot(port.port))
            so_far.open += port.open
            so_far.refused += port.refused
        for journal in part.journals:
            journals.setdefault(journal.model, JournalSnapshot(journal.model)).add(journal)
        for receipt in part.receipts:
            receipts.setdefault(receipt.model, ReceiptSnapshot(receipt.model)).add(receipt)
        whole.spans.sent += part.spans.sent
        whole.spans.lost += part.spans.lost
        whole.rejections = _outcomes((*whole.rejections, *part.rejections))
        whole.processes = sorted((*whole.processes, *part.processes), key=lambda process: process.pid)
        whole.events = sorted((*whole.events, *part.events))[-EVENTS_MAX:]
    whole.versions = [merge_versions(versions[key]) for key in sorted(versions)]
    whole.loads = [loads[key] for key in sorted(loads)]
    whole.policies = [policies[key] for key in sorted(policies)]
    whole.ports = [ports[key] for key in sorted(ports)]
    whole.journals = [journals[key] for key in sorted(journals)]
    whole.receipts = [receipts[key] for key in sorted(receipts)]
    return whole


def merge_versions(parts: Sequence[VersionSnapshot]) -> VersionSnapshot:
    """Merge snapshots of one version: the only part itself, or a new one."""
    if len(parts) == 1:
        return parts[0]
    whole = VersionSnapshot(model=parts[0].model, version=parts[0].version)
    for part in parts:
        whole.add(part)
    return whole


def _outcomes(parts: Sequence[Outcome]) -> list[Outcome]:
    counts = dict[tuple[str, str], int]()
    for part in parts:
        key = (part.protocol, part.error)
        counts[key] = counts.get(key, 0) + part.requests
    return [Outcome(*key, requests) for key, requests in sorted(counts.items())]


def _sizes(parts: Sequence[SizeSnapshot]) -> list[SizeSnapshot]:
    counts = dict[int, SizeSnapshot]()
    for part in parts:
        size = counts.setdefault(part.rows, SizeSnapshot(part.rows))
        size.executions += part.executions
        size.gather_s += part.gather_s
        size.run_s += part.run_s
        size.reply_s += part.reply_s
    return [counts[rows] for rows in sorted(counts)]
