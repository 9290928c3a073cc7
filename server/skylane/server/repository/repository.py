"""Keeps the served versions in step with the model repository on disk.

`refresh` compares the two and applies the difference: a new version is verified, loaded and warmed up while the old one
serves, and replaces it only when it is ready; a broken version is refused with its reason, and the old one stays. Call
it as often as needed, from one thread at a time. It waits a limited time for each load, see background_loads.py.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from skylane.policy import Policy
from skylane.server.core.text import quoted
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.background_loads import (
    BackgroundLoad,
    BackgroundLoads,
    LoadLimits,
    Start,
    start_thread,
)
from skylane.server.repository.model_state import ModelState
from skylane.server.repository.model_status import ModelStatus as ModelStatus
from skylane.server.repository.model_status import State as State
from skylane.server.repository.model_status import VersionStatus as VersionStatus
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.reconciler import Reconciler
from skylane.server.repository.scan_schedule import ScanSchedule
from skylane.server.repository.scanner import EMPTY_FILE, ModelOnDisk, RepositoryScan
from skylane.server.repository.timed_scanner import HUNG_S, TimedScanner

log = logging.getLogger(__name__)

MISPLACED_LOGGED_MAX: Final = 20
"""Most log lines for ignored directories in one scan."""

TABLES_AT_START: Final = 50
"""How many times at the start the routes are published while other models are still loading."""

Load = Callable[[Path, str, int, Policy], LoadedModel]
"""(directory, model, version, policy) → a model that may serve. Raises BrokenVersion."""


class Repository:
    """The models of one directory."""

    def __init__(
        self,
        root: Path,
        load: Load,
        serve: Callable[[Routes], None],
        shared: Path | None = None,
        limits: LoadLimits | None = None,
        *,
        start: Start = start_thread,
        hung_s: float = HUNG_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`serve` is given the new routes after every change; `load` makes a version ready. `shared`: see
        PolicyTracker.
        """
        self._root, self._serve = root, serve
        self._scanner = TimedScanner(root, start, hung_s)
        self._models: dict[str, ModelState] = {}
        self._unreadable = ""
        self._misplaced: Mapping[str, str] = {}
        self._policies = PolicyTracker(shared)
        self._loads = BackgroundLoads(limits or LoadLimits(), start, clock)
        self._under_way: Sequence[BackgroundLoad] = ()
        """Loads still running in the background after the last poll."""
        self._reconciler = Reconciler(
            lambda name, version, policy: load(root / name / str(version), name, version, policy),
            self._policies,
            self._on_load,
            self._loads,
            wall_clock,
        )
        self.withheld: frozenset[str] = frozenset()
        """Models that are in the repository but unloaded on request."""
        self._status: dict[str, ModelStatus] = {}
        self.refreshed = False
        """Whether everything that was on disk at the start has been loaded or refused."""
        self._publishes_each_change = False
        """Whether routes are published after each change. Not so at the start: each table holds all models."""
        self._not_loaded = set[str]()
        """Models that are on disk and have not been processed yet."""
        self.progress = (0, 0)
        """Models on disk that were loaded or refused by the last poll, and all models on disk."""
        self._schedule = ScanSchedule()
        self._watched: tuple[str, ...] = (str(root),)
        """Paths whose time stamps reveal changes, as of the last poll."""
        self._needs_refresh = False
        """Whether the next poll may have work to do even if nothing changes on disk."""

    @property
    def status(self) -> Mapping[str, ModelStatus]:
        """Every model by name, as of the last change. Safe to read from any thread."""
        return self._status

    @property
    def is_loading(self) -> bool:
        """Whether a load is running in the background. Safe to read from any thread."""
        return bool(self._under_way)

    def served_version(self, model: str, version: int) -> ServedVersion | None:
        """The served version, or None if it is not state."""
        state = self._models.get(model)
        return state.served_versions.get(version) if state else None

    def is_stale(self, now: float) -> bool:
        """Whether `refresh` may have something to do. Mostly it has not, and this check takes a tenth of its time.

        `now`: seconds of any clock that does not run back. For one thread; another may be in `refresh`.
        """
        paths = self._watched
        time_stamps = self._scanner.time_stamps(paths)
        if time_stamps is None or self._schedule.is_due(paths, time_stamps, now) or self._needs_refresh:
            return True
        loads = self._loads
        return any(load.has_ended or loads.is_fallback_due(load) or loads.is_overdue(load) for load in self._under_way)

    def refresh(self) -> None:
        """Apply changes on disk. Never raises for errors there: they are logged and reported in the status."""
        try:
            scan = self._scanner.scan()
        except OSError as error:
            self._keep_all(f"models: {self._root} cannot be read", str(error), "the repository cannot be read")
            return
        if self._is_suddenly_empty(scan):
            why = f"models: {self._root} holds no model any more, as where a volume is not mounted"
            advice = f"create the file {EMPTY_FILE} in it if that is meant"
            self._keep_all(why, advice, f"the repository holds no model any more; {advice}")
            return
        if self._unreadable:
            log.info("models: %s can be read again, and is followed", self._root)
            for state in self._models.values():
                state.unfollowed = ""
        self._unreadable = ""
        self._warn_of_misplaced(scan.misplaced)
        was_full, self._reconciler.is_full = self._reconciler.is_full, False
        models = {name: model for name, model in scan.models.items() if name not in self.withheld}
        for name in self._models.keys() - models.keys():
            if name in scan.emptied and name not in self.withheld and self._models[name].served_versions:
                self._keep_as_is(
                    name, "its directory has no version any more", f"create {name}/{EMPTY_FILE} if it is meant"
                )
            else:
                self._remove(name)
        for name, model in models.items():
            if model.versions and not model.unreadable:
                # All policies before any load, which may take seconds: meanwhile another worker may accept a newer
                # policy, which this worker must not overwrite in the directory that they share.
                self._policies.policy(name, model)
        self._update_all(models)
        if self._reconciler.is_full and not was_full:
            log.error(
                "models: no version is loaded until one of the %d loads in progress ends",
                self._loads.limits.background_max,
            )
        self._under_way = [load for state in self._models.values() for load in state.loading.values()]
        self._needs_refresh = any(
            state.may_change_by_itself or self._policies.refused(name)  # another worker may have accepted a later one
            for name, state in self._models.items()
        ) or any(model.unreadable for model in models.values())
        self._watched = self._paths_of(scan)
        self.refreshed = self.refreshed or all(load.is_given_up for load in self._under_way)
        self._publish_status()

    def _update_all(self, models: Mapping[str, ModelOnDisk]) -> None:
        """Apply each model's state on disk. Calls to new models get StillLoading until those are loaded."""
        self._not_loaded = models.keys() - self._models.keys()
        is_changed = bool(self._not_loaded) or not self._publishes_each_change
        if is_changed:
            self._publish_routes(at_once=True)
        step, under_way = max(1, len(models) // TABLES_AT_START), 0
        for done, (name, model) in enumerate(models.items()):
            self.progress = (done - under_way, len(models))
            if not self._publishes_each_change and done % step == 0:
                self._publish_routes(at_once=True)
            if model.unreadable:
                self._keep_as_is(name, "its directory cannot be read", model.unreadable)
            else:
                self._update(name, model)
            self._not_loaded.discard(name)
            under_way += self._models[name].is_first_loading
        self.progress = (len(models) - under_way, len(models))
        self._publishes_each_change = True
        if is_changed:
            self._publish_routes()

    def _is_suddenly_empty(self, scan: RepositoryScan) -> bool:
        """Whether all models vanished at once without a file that marks it as intended. Unloaded ones do not count."""
        return scan.is_empty and any(
            state.served_versions for name, state in self._models.items() if name not in self.withheld
        )

    def _keep_all(self, what: str, details: str, reason: str) -> None:
        """Keep serving everything as it is, since its state on disk is unknown. Logged once."""
        if (text := f"{what}, all versions stay in service: {details}") != self._unreadable:
            log.error("%s", text)
        self._unreadable, self._needs_refresh = text, True
        for state in self._models.values():
            state.unfollowed = reason
        self._publish_status()

    def _paths_of(self, scan: RepositoryScan) -> tuple[str, ...]:
        """The directories, whose times change when an entry is added or removed; the policies; and the files of refused
        versions, which may be repaired in place. All other versions are immutable: full scans suffice for them."""
        root = str(self._root)
        return (
            *scan.watched,
            *(
                f"{root}/{name}/{version}/{file.name}"
                for name, state in self._models.items()
                for version, refusal in state.refused.items()
                for file in refusal.stamp
            ),
        )

    def _warn_of_misplaced(self, misplaced: Mapping[str, str]) -> None:
        """Warn once of directories that may be intended as a model or a version."""
        new = {path: expected for path, expected in misplaced.items() if path not in self._misplaced}
        for path, expected in list(new.items())[:MISPLACED_LOGGED_MAX]:
            log.warning("models: %s is ignored: %s", quoted(path), expected)
        if len(new) > MISPLACED_LOGGED_MAX:
            log.warning("models: %d more directories are ignored", len(new) - MISPLACED_LOGGED_MAX)
        self._misplaced = misplaced

    def _keep_as_is(self, name: str, why: str, details: str) -> None:
        """Keep serving a model as it is, since its state on disk is unknown. Logged once; callers get no details."""
        state = self._models.setdefault(name, ModelState())
        if why != state.unfollowed:
            log.error("%s: %s, and its versions stay in service: %s", name, why, details)
        state.unfollowed = why

    def _remove(self, name: str) -> None:
        """Stop serving a model whose directory is gone, or that is unloaded on request."""
        self._policies.forget(name)
        self._update(name, ModelOnDisk({}, b""))
        if self._models[name].is_empty:
            del self._models[name]

    def _update(self, name: str, model: ModelOnDisk) -> None:
        state = self._models.setdefault(name, ModelState())
        if state.unfollowed:
            log.info("%s: it can be read again, and is followed", name)
        state.unfollowed = ""
        state.retiring = {
            version: served_version for version, served_version in state.retiring.items() if not served_version.idle
        }
        before, before_policy, before_reasons = dict(state.served_versions), state.policy.versions, state.reasons()
        self._reconciler.update(name, state, model)
        for version in sorted(before.keys() - state.served_versions.keys()):
            why = "another takes its place" if version in model.versions else "its directory is gone"
            why = "it is unloaded" if name in self.withheld else why
            log.info("%s/%d retires, %s: it finishes requests in flight", name, version, why)
        if state.served_versions != before or state.policy.versions != before_policy:
            self._publish_routes()
            state.retiring |= {
                v: served_version
                for v, served_version in before.items()
                if state.served_versions.get(v) is not served_version
            }
            _log_names(name, state)
        elif not state.served_versions and state.reasons() != before_reasons:
            self._publish_routes()  # so that callers get the new reason

    def _on_load(self, name: str, state: ModelState) -> None:
        """Update the status when a load starts, which may take a while."""
        self._status = {**self._status, name: state.status(self._policies.refused(name))}

    def _publish_routes(self, *, at_once: bool = False) -> None:
        """Publish routes for the versions served now."""
        if not (self._publishes_each_change or at_once):
            return
        models = {name: state.routes() for name, state in self._models.items() if state.served_versions}
        reasons = {name: state.reasons() for name, state in self._models.items() if not state.served_versions}
        refused = {name: each[max(each)] for name, each in reasons.items() if each}
        coming = {name for name, state in self._models.items() if state.is_first_loading}
        self._serve(Routes(models, refused, loading=frozenset(self._not_loaded | coming)))

    def _publish_status(self) -> None:
        """Publish a new status."""
        self._status = {
            name: state.status(self._policies.refused(name)) for name, state in sorted(self._models.items())
        }


def _log_names(name: str, state: ModelState) -> None:
    """Log the default version, and warn of labels that name a version that is not served."""
    if not state.served_versions:
        return
    versions = state.policy.versions
    latest = selection.latest(state.served_versions, versions)
    log.info("%s: version %d answers requests that name no version", name, latest)
    named = {"latest": versions.latest, **{f"label {k!r}": v for k, v in versions.labels.items()}}
    for what, version in named.items():
        if version is not None and version not in state.served_versions:
            why = state.reasons().get(version, "it is not in the repository")
            log.warning("%s: %s names version %d, which does not serve: %s", name, what, version, why)
