"""Brings the versions that a model serves in line with its directory: what to load, try again, refuse or retire."""

import logging
from collections.abc import Callable, Mapping

from skylane.manifest import BrokenVersion, IncompleteVersion
from skylane.policy import Policy
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.background_loads import BackgroundLoad, BackgroundLoads
from skylane.server.repository.model_state import ModelState
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.retry_rules import Refusal, RetryRules
from skylane.server.repository.scanner import ModelOnDisk, Stamp

log = logging.getLogger(__name__)


class Reconciler:
    """Changes the state of one model after the other. For one thread at a time."""

    def __init__(
        self,
        load: Callable[[str, int, Policy], LoadedModel],
        policies: PolicyTracker,
        on_load: Callable[[str, ModelState], None],
        loads: BackgroundLoads,
        wall_clock: Callable[[], float],
    ) -> None:
        """`load` loads (model, version) by a policy. `on_load` is called whenever a load starts."""
        self._load, self._policies, self._on_load = load, policies, on_load
        self._loads, self._clock, self._wall_clock = loads, loads.clock, wall_clock
        self._retry_rules = RetryRules(loads.limits.settle_s, loads.limits.written_s_max)
        self.is_full = False
        """Whether a load waits until one in the background ends."""

    def update(self, name: str, state: ModelState, model: ModelOnDisk) -> None:
        """Serve the versions that the directory and the policy name, as far as they load within the time limit."""
        self._review_refusals(name, state, model.versions)
        if model.versions:
            self._apply_policy(name, state, model)
        self._collect(name, state, model.versions)
        self._load_wanted(name, state, model.versions)

    def _review_refusals(self, name: str, state: ModelState, versions: Mapping[int, Stamp]) -> None:
        """Drop the refusals of versions that are to be loaded again, or are gone."""
        now = self._clock()
        for version, refusal in list(state.refused.items()):
            stamp = versions.get(version)
            again = None if stamp is None else self._retry_rules.again(refusal, stamp, now)
            if again is None:
                del state.refused[version]
                continue
            if again.is_final and not refusal.is_final:
                log.error("%s/%d refused: %s", name, version, again.reason)
            state.refused[version] = again

    def _apply_policy(self, name: str, state: ModelState, model: ModelOnDisk) -> None:
        """Apply a changed policy. Without a valid one, no version is loaded."""
        policy = self._policies.policy(name, model)
        if policy is None:
            newest = max(model.versions)
            why = f"not loaded, since it is not known which is to serve: {self._policies.refused(name)}"
            state.lacks_policy = True
            state.refused = {newest: Refusal(model.versions[newest], why, self._clock())}
            return
        if state.lacks_policy:
            state.lacks_policy, state.refused = False, {}
        before, state.policy = state.policy, policy
        if policy.session != before.session:
            state.outdated = set(state.served_versions)  # they serve until the new sessions are ready
        if (policy.batching, policy.cache) != (before.batching, before.cache):
            state.served_versions = {
                version: ServedVersion(served_version.model, policy)
                for version, served_version in state.served_versions.items()
            }

    def _load_wanted(self, name: str, state: ModelState, versions: Mapping[int, Stamp]) -> None:
        """Load the missing versions; stop serving the unwanted ones as soon as the others serve."""
        wanted, waits = set[int](), False
        while not state.lacks_policy:
            wanted = selection.wanted(versions.keys() - self._unusable(state), state.policy.versions)
            current = state.served_versions.keys() - state.outdated
            waits = bool(wanted & state.loading.keys() - current)
            missing = sorted(wanted - current - state.loading.keys(), reverse=True)
            if not missing:
                break
            if not self._loads.has_room:
                self.is_full = waits = True
                break
            self._start_load(name, missing[0], state, versions[missing[0]])
            self._collect(name, state, versions)
        if not wanted or waits:  # every version on disk was refused or is not ready: those that serve continue
            wanted = set(versions)
        state.served_versions = {
            version: served_version for version, served_version in state.served_versions.items() if version in wanted
        }
        state.outdated &= state.served_versions.keys()

    @staticmethod
    def _unusable(state: ModelState) -> set[int]:
        """Versions that are refused, and while none serves also those whose loads take too long to wait for."""
        slow = () if state.served_versions else (v for v, load in state.loading.items() if load.needs_fallback)
        return {*state.refused, *slow}

    def _start_load(self, name: str, version: int, state: ModelState, stamp: Stamp) -> None:
        """Start to load one version, and wait a limited time for it."""
        policy = state.policy
        load = BackgroundLoad(lambda: self._load(name, version, policy), stamp, policy, self._clock())
        state.loading[version] = load
        self._on_load(name, state)
        if not self._loads.run(load, f"{name}/{version}"):
            log.warning(
                "%s/%d: its load has not ended after %g s; it continues in the background, and other models are"
                " updated meanwhile",
                name, version, self._loads.limits.slow_s,
            )  # fmt: skip

    def _collect(self, name: str, state: ModelState, versions: Mapping[int, Stamp]) -> None:
        """Process the loads that have ended, and refuse those that take too long."""
        for version, load in list(state.loading.items()):
            if versions.get(version) != load.stamp:  # the files that it loads have changed or are gone
                del state.loading[version]
            elif load.has_ended:
                del state.loading[version]
                self._process_ended(name, version, state, load)
            elif self._loads.is_overdue(load):
                load.is_given_up = True
                why = f"its load has not ended after {self._loads.limits.load_s_max:g} s"
                log.error("%s/%d refused: %s", name, version, why)
                state.refused[version] = Refusal(load.stamp, why, self._clock())
            elif self._loads.is_fallback_due(load):
                load.needs_fallback = True
                if not state.served_versions:
                    log.warning(
                        "%s/%d: its load has not ended after %g s: until it has, other versions may serve",
                        name, version, self._loads.limits.fallback_s,
                    )  # fmt: skip

    def _process_ended(self, name: str, version: int, state: ModelState, load: BackgroundLoad) -> None:
        """Serve a loaded version, or record why it cannot be served."""
        seconds, error = self._clock() - load.started_at, load.error
        if load.model is not None:
            if load.policy.session == state.policy.session:  # else it is loaded again with the new options
                state.served_versions[version] = ServedVersion(load.model, state.policy)
                state.outdated.discard(version)
                state.refused.pop(version, None)
                state.being_written.discard(version)
                log.info("%s/%d ready after %.2f s; a run takes %s", name, version, seconds, load.model.cost)
            return
        refusal = Refusal(load.stamp, str(error), self._clock())
        if isinstance(error, IncompleteVersion):
            refusal = self._retry_rules.first(load.stamp, str(error), self._clock(), self._wall_clock())
        if not refusal.is_final:
            if version not in state.being_written:
                log.info("%s/%d is being written (%s), and is loaded when it is complete", name, version, error)
            state.being_written.add(version)
        elif isinstance(error, BrokenVersion):
            log.error("%s/%d refused: %s", name, version, error)
        else:  # a bug that one version triggers must not keep the others from being updated
            refusal.reason = f"it cannot be loaded: {_without_path(error)}"
            log.error("%s/%d refused: internal error while loading", name, version, exc_info=error)
        state.refused[version] = refusal


def _without_path(error: Exception | None) -> str:
    """The error's text for clients, without the path at which the server keeps its files."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
