"""Which policies are worth trying: the one that a model has, with a key or several changed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Final

from skylane.policy import Policy

AS_IT_IS: Final = "as it is"
ROWS_MAX: Final = 65_536
FACTOR: Final = 4
"""From one number of rows, or size of the cache, to the next that is tried."""
DELAY_SHARES: Final = (0.05, 0.2)
"""Of the target: how long requests may wait for company."""

Value = bool | int | float


@dataclass(frozen=True, order=True)
class Change:
    """One key of model.toml and what it is set to."""

    section: str
    key: str
    value: Value

    def __str__(self) -> str:
        shown = str(self.value).lower() if isinstance(self.value, bool) else f"{self.value:g}"
        return f"{'cache ' if self.section == 'cache' else ''}{self.key} = {shown}"


@dataclass(frozen=True)
class Candidate:
    """A policy, named by what differs from the one that the model has."""

    changes: tuple[Change, ...] = ()

    @property
    def name(self) -> str:
        """As people read it."""
        return ", ".join(map(str, self.changes)) or AS_IT_IS


OWN: Final = Candidate()
KEYS: Final = (
    "instances", "max_batch_rows", "max_queue_delay_ms", "target_p99_ms", "intra_op_threads", "enabled", "max_mb",
)  # fmt: skip
"""What may be changed. The last two are the cache's, and need requests that repeat as they really do."""


def singles(policy: Policy, target_p99_ms: float, cores: int, *, repeats: bool) -> list[Candidate]:
    """One key changed at a time. `repeats`: requests repeat as they really do, so that the cache can be judged."""
    batching, session, cache = policy.batching, policy.session, policy.cache
    wanted = [Change("batching", "instances", count) for count in _counts(cores) if count != batching.instances]
    rows = batching.max_batch_rows
    wanted += [
        Change("batching", "max_batch_rows", count)
        for count in (max(rows // FACTOR, 1), min(rows * FACTOR, ROWS_MAX))
        if count != rows
    ]
    delays = (0.0, *(_short(share * target_p99_ms) for share in DELAY_SHARES))
    wanted += [Change("batching", "max_queue_delay_ms", each) for each in delays if each != batching.max_queue_delay_ms]
    if batching.target_p99_ms != target_p99_ms:
        wanted.append(Change("batching", "target_p99_ms", float(target_p99_ms)))
    threads = dict.fromkeys((1, cores))
    wanted += [Change("session", "intra_op_threads", each) for each in threads if each != session.intra_op_threads]
    if repeats:
        wanted.append(Change("cache", "enabled", not cache.enabled))
        if cache.enabled:
            sizes = (cache.max_mb / FACTOR, cache.max_mb * FACTOR)
            wanted += [Change("cache", "max_mb", each) for each in sizes]
    return [Candidate((change,)) for change in wanted]


def combined(candidates: Iterable[Candidate]) -> Candidate:
    """All their changes together; where two set the same key, the earlier one holds."""
    chosen: dict[tuple[str, str], Change] = {}
    for candidate in candidates:
        for change in candidate.changes:
            chosen.setdefault((change.section, change.key), change)
    return Candidate(tuple(sorted(chosen.values(), key=lambda change: (change.section, change.key))))


def value_of(policy: Policy, change: Change) -> Value | None:
    """What the policy has instead."""
    value: Value | None = getattr(getattr(policy, change.section), change.key)
    return value


def _counts(cores: int) -> Sequence[int]:
    """1, 2, 4 … and as many as there are cores."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})


def _short(value: float) -> float:
    """Two digits."""
    return float(f"{value:.2g}") if log10(value) > -6 else value
