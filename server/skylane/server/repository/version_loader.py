"""Brings up the versions of a model that should answer, and decides which are tried again and which are refused."""

import logging
from collections.abc import Callable, Mapping

from skylane.manifest import BrokenVersion, IncompleteVersion
from skylane.policy import Policy
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.loading import Load, Loads, Refusal, Refusals
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.scanner import ModelOnDisk, Stamp
from skylane.server.repository.served import Served

log = logging.getLogger(__name__)


class VersionLoader:
    """For one thread at a time."""

    def __init__(
        self,
        load: Callable[[str, int, Policy], LoadedModel],
        policies: PolicyTracker,
        is_loading: Callable[[str, Served], None],
        loads: Loads,
        wall_clock: Callable[[], float],
    ) -> None:
        """`load` makes (model, version) ready by a policy. `is_loading` is called whenever a load begins."""
        self._load, self._policies, self._is_loading = load, policies, is_loading
        self._loads, self._clock, self._wall_clock = loads, loads.clock, wall_clock
        self._refusals = Refusals(loads.limits)
        self.is_full = False
        """Whether a load waits for one of those beside the others to end."""

    def update(self, name: str, served: Served, model: ModelOnDisk) -> None:
        """Let the versions that answer be those that should, as far as they can be loaded in a while."""
        self._reconsider(name, served, model.versions)
        if model.versions:
            self._apply_policy(name, served, model)
        self._collect(name, served, model.versions)
        self._bring_up(name, served, model.versions)

    def _reconsider(self, name: str, served: Served, versions: Mapping[int, Stamp]) -> None:
        """Forget refusals of versions that are worth another try, or gone."""
        now = self._clock()
        for version, refusal in list(served.refused.items()):
            stamp = versions.get(version)
            again = None if stamp is None else self._refusals.again(refusal, stamp, now)
            if again is None:
                del served.refused[version]
                continue
            if again.is_final and not refusal.is_final:
                log.error("%s/%d refused: %s", name, version, again.reason)
            served.refused[version] = again

    def _apply_policy(self, name: str, served: Served, model: ModelOnDisk) -> None:
        """Serve by a changed policy; by none if none is known."""
        policy = self._policies.policy(name, model)
        if policy is None:
            newest = max(model.versions)
            why = f"not loaded, since it is not known which is to serve: {self._policies.refused(name)}"
            served.held_back = True
            served.refused = {newest: Refusal(model.versions[newest], why, self._clock())}
            return
        if served.held_back:
            served.held_back, served.refused = False, {}
        before, served.policy = served.policy, policy
        if policy.session != before.session:
            served.outdated = set(served.served_versions)  # they serve on until the new sessions are ready
        if (policy.batching, policy.cache) != (before.batching, before.cache):
            served.served_versions = {
                version: ServedVersion(served_version.model, policy)
                for version, served_version in served.served_versions.items()
            }

    def _bring_up(self, name: str, served: Served, versions: Mapping[int, Stamp]) -> None:
        """Load what should be and is not, and leave what should not be, as soon as the others serve."""
        wanted, waits = set[int](), False
        while not served.held_back:
            wanted = selection.wanted(versions.keys() - served.refused.keys(), served.policy.versions)
            current = served.served_versions.keys() - served.outdated
            waits = bool(wanted & served.loading.keys() - current)
            missing = sorted(wanted - current - served.loading.keys(), reverse=True)
            if not missing:
                break
            if not self._loads.has_room:
                self.is_full = waits = True
                break
            self._begin(name, missing[0], served, versions[missing[0]])
            self._collect(name, served, versions)
        if not wanted or waits:  # all that is there was refused, or is not ready: what served serves on
            wanted = set(versions)
        served.served_versions = {
            version: served_version for version, served_version in served.served_versions.items() if version in wanted
        }
        served.outdated &= served.served_versions.keys()

    def _begin(self, name: str, version: int, served: Served, stamp: Stamp) -> None:
        """Begin to load one version, and wait a while for it."""
        policy = served.policy
        load = Load(lambda: self._load(name, version, policy), stamp, policy, self._clock())
        served.loading[version] = load
        self._is_loading(name, served)
        if not self._loads.run(load, f"{name}/{version}"):
            log.warning(
                "%s/%d: its load has not ended after %g s; it goes on, and other models are followed meanwhile",
                name, version, self._loads.limits.slow_s,
            )  # fmt: skip

    def _collect(self, name: str, served: Served, versions: Mapping[int, Stamp]) -> None:
        """Take the loads that have ended, and refuse those that take too long."""
        for version, load in list(served.loading.items()):
            if versions.get(version) != load.stamp:  # what it loads is not there any more
                del served.loading[version]
            elif load.has_ended:
                del served.loading[version]
                self._take(name, version, served, load)
            elif self._loads.is_overdue(load):
                load.is_given_up = True
                why = f"its load has not ended after {self._loads.limits.load_s_max:g} s"
                log.error("%s/%d refused: %s", name, version, why)
                served.refused[version] = Refusal(load.stamp, why, self._clock())

    def _take(self, name: str, version: int, served: Served, load: Load) -> None:
        """Serve what a load made, or note why it cannot be."""
        seconds, error = self._clock() - load.begun_at, load.error
        if load.model is not None:
            if load.policy.session == served.policy.session:  # else it is loaded anew
                served.served_versions[version] = ServedVersion(load.model, served.policy)
                served.outdated.discard(version)
                served.refused.pop(version, None)
                served.being_written.discard(version)
                log.info("%s/%d ready after %.2f s; a run takes %s", name, version, seconds, load.model.cost)
            return
        refusal = Refusal(load.stamp, str(error), self._clock())
        if isinstance(error, IncompleteVersion):
            refusal = self._refusals.first(load.stamp, str(error), self._clock(), self._wall_clock())
        if not refusal.is_final:
            if version not in served.being_written:
                log.info("%s/%d is being written (%s), and is loaded when it is complete", name, version, error)
            served.being_written.add(version)
        elif isinstance(error, BrokenVersion):
            log.error("%s/%d refused: %s", name, version, error)
        else:  # a fault of ours in one version must not keep the others from being followed
            refusal.reason = f"it cannot be loaded: {_without_path(error)}"
            log.error("%s/%d refused: internal error while loading", name, version, exc_info=error)
        served.refused[version] = refusal


def _without_path(error: Exception | None) -> str:
    """What callers may hear of a fault: not where the server keeps its files."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
