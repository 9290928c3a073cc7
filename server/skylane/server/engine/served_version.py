"""One loaded version with all that belongs to it: its queue, its cache, its free instances.

Everything here is guarded by `lock`, held for microseconds and never while a model runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from skylane.policy import Batching, Policy
from skylane.server.core.types import Array, Interface
from skylane.server.engine.admission import Admission
from skylane.server.engine.batching import BatchQueue
from skylane.server.engine.cost import CostModel
from skylane.server.engine.reply_cache import ReplyCache
from skylane.server.engine.statistics import Statistics

FAILURES_TOLD_S = 10.0
"""A caller whose rows make the model fail must not fill the disk: one traceback in so many seconds is enough."""


class Runner(Protocol):
    """Runs the model's graph. Called by as many threads at once as the policy has instances."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """All outputs for these inputs, both in the interface's order. Raises whatever the runtime raises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A version that was verified, loaded and warmed up."""

    interface: Interface
    runner: Runner
    cost: CostModel
    empty: tuple[Array, ...]
    """The outputs for no rows at all."""
    manifest_json: bytes = b""
    """The manifest as it lies on disk, for those who ask."""
    memory_bytes: int = 0
    """What its session took when it was made; 0 if that is not known."""


class ServedVersion:
    """What the engine keeps for one loaded version."""

    def __init__(self, model: LoadedModel, policy: Policy) -> None:
        self.model = model
        self.lock = Lock()
        self.policy: Batching = policy.batching
        self.admission = Admission(policy.batching, model.cost)
        self.queue = BatchQueue(self.admission.batch_rows, policy.batching.max_queue_delay_ms / 1000)
        self.cache: ReplyCache | None = None
        if policy.cache.enabled:
            self.cache = ReplyCache(
                int(policy.cache.max_mb * 2**20), policy.cache.ttl_s, policy.batching.max_queue_rows
            )
        self.free = policy.batching.instances
        """Instances that are not running."""
        self.alarm_at: float | None = None
        """When the engine will look at the queue again although nothing arrives; None if no alarm is set."""
        self.counts = Statistics(caches=policy.cache.enabled)
        """Where the engine records; whoever reads takes `statistics`."""
        self._quiet_until = -math.inf
        self.retired = False
        """True from the moment that the routes stop naming it; it takes nothing new, and finishes what it has."""

    def ran(self, rows: int, seconds: float | None) -> None:
        """An instance is free again. `seconds` tells what rows cost; None if the run failed, and tells nothing."""
        self.free += 1
        if seconds is not None:
            self.model.cost.observe(rows, seconds)
            self.admission.learn()
            self.queue.rows_max = self.admission.batch_rows

    def failed(self, now: float) -> bool:
        """A request made the model fail; True if it is long enough ago that a log line told of the last one."""
        is_news = now >= self._quiet_until
        if is_news:
            self._quiet_until = now + FAILURES_TOLD_S
        return is_news

    @property
    def statistics(self) -> Statistics:
        """What it has answered until now."""
        with self.lock:
            self.counts.fold()
        return self.counts

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self.lock:  # a batch that is just being taken neither waits nor runs
            return self.queue.rows == 0 and self.free == self.policy.instances

    def __repr__(self) -> str:
        return (
            f"ServedVersion({self.model.interface.model}/{self.model.interface.version}, {self.queue.rows} rows wait)"
        )
