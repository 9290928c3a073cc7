"""One loaded version of a model with its queue, its cache and its free instances.

Everything here is guarded by `lock`, which is held for microseconds and never while the model runs.
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
from skylane.server.engine.recorder import Recorder
from skylane.server.engine.reply_cache import ReplyCache
from skylane.server.engine.statistics import Statistics

FAILURE_LOG_INTERVAL_S = 10.0
"""At most one traceback in this many seconds, so that requests that make the model fail do not fill the disk."""


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
    """The outputs for zero rows."""
    manifest_json: bytes = b""
    """The manifest as it is on disk, for the metadata methods."""
    memory_bytes: int = 0
    """Memory that creating its session took; 0 if unknown."""


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
        """When the engine checks the queue again even if nothing arrives; None if no alarm is set."""
        self.recorder: Recorder | None = None
        """Records its predictions; set before it serves, and not at all if they are not recorded."""
        self.monitor = policy.monitor
        """What is recorded of it."""
        self.counts = Statistics(caches=policy.cache.enabled)
        """What the engine records; read it through `statistics`."""
        self._quiet_until = -math.inf
        self.retired = False
        """True once the routes no longer contain it: it takes no new calls, and finishes its queue."""

    def ran(self, rows: int, seconds: float | None) -> None:
        """An instance is free again after a run of this many rows. `seconds` is None if the run failed."""
        self.free += 1
        if seconds is not None:
            self.model.cost.observe(rows, seconds)
            self.admission.learn()
            self.queue.rows_max = self.admission.batch_rows

    def failed(self, now: float) -> bool:
        """A request made the model fail. Returns whether to log it: whether the last logged failure is old enough."""
        should_log = now >= self._quiet_until
        if should_log:
            self._quiet_until = now + FAILURE_LOG_INTERVAL_S
        return should_log

    @property
    def statistics(self) -> Statistics:
        """Its counts up to now."""
        with self.lock:
            self.counts.fold()
        return self.counts

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self.lock:  # without it, a batch just being taken would count as neither waiting nor running
            return self.queue.rows == 0 and self.free == self.policy.instances

    def __repr__(self) -> str:
        return (
            f"ServedVersion({self.model.interface.model}/{self.model.interface.version}, {self.queue.rows} rows wait)"
        )
