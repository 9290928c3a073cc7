"""What one process tells of itself, and how the figures of several become one. Pure.

Counters of processes that have ended count on: a sum that fell would look to Prometheus like a restart of all. Gauges
are told by the living alone.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import msgspec

Buckets = list[int]
"""Counts in each bucket alone, the last of what is over every bound."""


class HistogramSnapshot(msgspec.Struct):
    """How often something had which size."""

    buckets: Buckets = []
    total: float = 0.0
    """Sum of all sizes: seconds, or rows."""

    @property
    def count(self) -> int:
        """How often."""
        return sum(self.buckets)

    def add(self, other: "HistogramSnapshot") -> None:
        """Count those of another too."""
        self.buckets = [mine + its for mine, its in zip_longest(self.buckets, other.buckets, fillvalue=0)]
        self.total += other.total


class Outcome(msgspec.Struct):
    """Requests that ended alike."""

    protocol: str
    error: str
    """Name of the error's class, or of the status where there was none; nothing for an answer."""
    requests: int


class SizeSnapshot(msgspec.Struct):
    """All batches of so many rows that were run."""

    rows: int
    executions: int = 0
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0


class VersionSnapshot(msgspec.Struct, kw_only=True):
    """Of one version since the server started."""

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
    """When it answered last, in seconds since 1970; 0 if it never has."""
    queue_rows: int = 0
    cache_bytes: int = 0
    memory_bytes: int = 0
    """What its sessions took when they were made; 0 if that is not known."""
    states: dict[str, int] = {}
    """State → processes in which the version is in it. With the three above and the next, what only the living tell."""
    reason: str = ""
    """Why it is not served, or not as its policy now says."""

    def add(self, other: "VersionSnapshot") -> None:
        """Count those of another too."""
        self.outcomes = _outcomes((*self.outcomes, *other.outcomes))
        for name in ("total", "queue", "run", "batch_rows"):
            getattr(self, name).add(getattr(other, name))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sizes = _sizes((*self.sizes, *other.sizes))
        self.last_at = max(self.last_at, other.last_at)
        self.reason = max(self.reason, other.reason)  # whoever adds, in whatever order
        self.states = {
            state: self.states.get(state, 0) + other.states.get(state, 0)
            for state in sorted(self.states.keys() | other.states.keys())
        }


_SUMS = (
    "gather_s", "run_s", "reply_s", "hits", "hit_s", "misses", "coalesced", "queue_rows", "cache_bytes",
    "memory_bytes",
)  # fmt: skip


class LoadSnapshot(msgspec.Struct):
    """How loading a model's versions went."""

    model: str
    loads: int = 0
    seconds: float = 0.0
    failures: int = 0

    def add(self, other: "LoadSnapshot") -> None:
        """Count those of another too."""
        self.loads += other.loads
        self.seconds += other.seconds
        self.failures += other.failures


class PolicySnapshot(msgspec.Struct):
    """Whether a model and its policy are followed; told by the living alone."""

    model: str
    refused: int = 0
    """Processes in which its model.toml cannot be used."""
    unfollowed: int = 0
    """Processes in which it serves on although its directory is empty, gone or unreadable."""


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """One process that lives."""

    pid: int
    started_at: float
    """Seconds since 1970."""
    resident_bytes: int
    cpu_s: float


class PortSnapshot(msgspec.Struct):
    """Connections to one port."""

    port: str
    open: int = 0
    """Now; of the living alone."""
    refused: int = 0
    """Closed at once, since there was no room."""


class SpanSnapshot(msgspec.Struct):
    """What became of the spans of traces."""

    sent: int = 0
    """The collector took them."""
    lost: int = 0
    """Nobody will ever see them."""


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


class Event(msgspec.Struct, frozen=True, order=True):
    """Something that an operator was told."""

    at: float
    """Seconds since 1970."""
    pid: int
    level: str
    text: str


EVENTS_MAX = 60


class Snapshot(msgspec.Struct, kw_only=True):
    """Everything that one process tells, or several together."""

    versions: list[VersionSnapshot] = []
    rejections: list[Outcome] = []
    """Requests that no model was asked for: refused before, or of methods and paths that are about no prediction."""
    loads: list[LoadSnapshot] = []
    policies: list[PolicySnapshot] = []
    ports: list[PortSnapshot] = []
    spans: SpanSnapshot = msgspec.field(default_factory=SpanSnapshot)
    journals: list[JournalSnapshot] = []
    processes: list[ProcessSnapshot] = []
    events: list[Event] = []

    def without_sizes(self) -> "Snapshot":
        """What a page needs that is sent every few seconds."""
        versions = [msgspec.structs.replace(each, sizes=[]) for each in self.versions]
        return msgspec.structs.replace(self, versions=versions)

    def counters(self) -> "Snapshot":
        """What stays when the process has ended."""
        nothing = {"queue_rows": 0, "cache_bytes": 0, "memory_bytes": 0, "states": {}, "reason": ""}
        versions = [msgspec.structs.replace(each, **nothing) for each in self.versions]
        ports = [msgspec.structs.replace(each, open=0) for each in self.ports]
        return msgspec.structs.replace(self, versions=versions, ports=ports, policies=[], processes=[])


def together(parts: Iterable[Snapshot]) -> Snapshot:
    """The figures of all. Changes none of them."""
    versions = dict[tuple[str, int], list[VersionSnapshot]]()
    loads = dict[str, LoadSnapshot]()
    ports = dict[str, PortSnapshot]()
    journals = dict[str, JournalSnapshot]()
    policies = dict[str, PolicySnapshot]()
    whole = Snapshot()
    for part in parts:
        for version in part.versions:
            versions.setdefault((version.model, version.version), []).append(version)
        for load in part.loads:
            loads.setdefault(load.model, LoadSnapshot(load.model)).add(load)
        for policy in part.policies:
            together_with = policies.setdefault(policy.model, PolicySnapshot(policy.model))
            together_with.refused += policy.refused
            together_with.unfollowed += policy.unfollowed
        for port in part.ports:
            so_far = ports.setdefault(port.port, PortSnapshot(port.port))
            so_far.open += port.open
            so_far.refused += port.refused
        for journal in part.journals:
            journals.setdefault(journal.model, JournalSnapshot(journal.model)).add(journal)
        whole.spans.sent += part.spans.sent
        whole.spans.lost += part.spans.lost
        whole.rejections = _outcomes((*whole.rejections, *part.rejections))
        whole.processes = sorted((*whole.processes, *part.processes), key=lambda process: process.pid)
        whole.events = sorted((*whole.events, *part.events))[-EVENTS_MAX:]
    whole.versions = [added(versions[key]) for key in sorted(versions)]
    whole.loads = [loads[key] for key in sorted(loads)]
    whole.policies = [policies[key] for key in sorted(policies)]
    whole.ports = [ports[key] for key in sorted(ports)]
    whole.journals = [journals[key] for key in sorted(journals)]
    return whole


def added(parts: Sequence[VersionSnapshot]) -> VersionSnapshot:
    """Several of one version as one: the only part itself, or a new one."""
    if len(parts) == 1:
        return parts[0]
    whole = VersionSnapshot(model=parts[0].model, version=parts[0].version)
    for part in parts:
        whole.add(part)
    return whole


def _outcomes(parts: Sequence[Outcome]) -> list[Outcome]:
    found = dict[tuple[str, str], int]()
    for part in parts:
        key = (part.protocol, part.error)
        found[key] = found.get(key, 0) + part.requests
    return [Outcome(*key, requests) for key, requests in sorted(found.items())]


def _sizes(parts: Sequence[SizeSnapshot]) -> list[SizeSnapshot]:
    found = dict[int, SizeSnapshot]()
    for part in parts:
        size = found.setdefault(part.rows, SizeSnapshot(part.rows))
        size.executions += part.executions
        size.gather_s += part.gather_s
        size.run_s += part.run_s
        size.reply_s += part.reply_s
    return [found[rows] for rows in sorted(found)]
