"""Keeps the served versions in step with the model repository on disk.

`refresh` compares the two and applies the difference: a new version is verified, loaded and warmed up while the old one
serves, and replaces it only when it is ready; a broken version is refused with its reason, and the old one stays. Call
it as often as needed, from one thread at a time. It waits a limited time for each load, see loading.py.
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
from skylane.server.repository.loading import Load as LoadUnderWay
from skylane.server.repository.loading import LoadLimits, Loads, Start, start_thread
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.reading import HUNG_S, RepositoryReader
from skylane.server.repository.scan_schedule import ScanSchedule
from skylane.server.repository.scanner import EMPTY_FILE, ModelOnDisk, Survey
from skylane.server.repository.served import Served
from skylane.server.repository.status import ModelStatus as ModelStatus
from skylane.server.repository.status import State as State
from skylane.server.repository.status import VersionStatus as VersionStatus
from skylane.server.repository.version_loader import VersionLoader

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
        self._reader = RepositoryReader(root, start, hung_s)
        self._models: dict[str, Served] = {}
        self._unreadable = ""
        self._misplaced: Mapping[str, str] = {}
        self._policies = PolicyTracker(shared)
        self._loads = Loads(limits or LoadLimits(), start, clock)
        self._under_way: Sequence[LoadUnderWay] = ()
        """Loads still running in the background after the last poll."""
        self._loader = VersionLoader(
            lambda name, version, policy: load(root / name / str(version), name, version, policy),
            self._policies,
            self._is_loading,
            self._loads,
            wall_clock,
        )
        self.withheld: frozenset[str] = frozenset()
        """Models that are in the repository but unloaded on request."""
        self._status: dict[str, ModelStatus] = {}
        self.refreshed = False
        """Whether everything that was on disk at the start has been loaded or refused."""
        self._gives_each = False
        """Whether routes are published after each change. Not so at the start: each table holds all models."""
        self._not_loaded = set[str]()
        """Models that are on disk and have not been processed yet."""
        self.progress = (0, 0)
        """Models on disk that were loaded or refused by the last poll, and all models on disk."""
        self._schedule = ScanSchedule()
        self._watched: tuple[str, ...] = (str(root),)
        """Paths whose time stamps reveal changes, as of the last poll."""
        self._restless = False
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
        """The served version, or None if it is not served."""
        served = self._models.get(model)
        return served.served_versions.get(version) if served else None

    def is_stale(self, now: float) -> bool:
        """Whether `refresh` may have something to do. Mostly it has not, and this check takes a tenth of its time.

        `now`: seconds of any clock that does not run back. For one thread; another may be in `refresh`.
        """
        paths = self._watched
        seen = self._reader.glance(paths)
        if seen is None or self._schedule.is_due(paths, seen, now) or self._restless:
            return True
        return any(load.has_ended or self._loads.is_overdue(load) for load in self._under_way)

    def refresh(self) -> None:
        """Apply changes on disk. Never raises for errors there: they are logged and reported in the status."""
        try:
            seen = self._reader.survey()
        except OSError as error:
            self._serve_on(f"models: {self._root} cannot be read", str(error), "the repository cannot be read")
            return
        if self._is_suddenly_empty(seen):
            why = f"models: {self._root} holds no model any more, as where a volume is not mounted"
            mend = f"create the file {EMPTY_FILE} in it if that is meant"
            self._serve_on(why, mend, f"the repository holds no model any more; {mend}")
            return
        if self._unreadable:
            log.info("models: %s can be read again, and is followed", self._root)
            for served in self._models.values():
                served.unfollowed = ""
        self._unreadable = ""
        self._warn_of_misplaced(seen.misplaced)
        was_full, self._loader.is_full = self._loader.is_full, False
        found = {name: model for name, model in seen.models.items() if name not in self.withheld}
        for name in self._models.keys() - found.keys():
            if name in seen.emptied and name not in self.withheld and self._models[name].served_versions:
                self._leave(name, "its directory has no version any more", f"create {name}/{EMPTY_FILE} if it is meant")
            else:
                self._remove(name)
        for name, model in found.items():
            if model.versions and not model.unreadable:
                # Of all before any is loaded, which may take seconds: another worker may come to follow a newer one
                # meanwhile, which this one must not replace in what they share.
                self._policies.policy(name, model)
        self._bring_up(found)
        if self._loader.is_full and not was_full:
            log.error(
                "models: no version is loaded until one of %d loads ends that have not", self._loads.limits.beside_max
            )
        self._under_way = [load for served in self._models.values() for load in served.loading.values()]
        self._restless = any(
            served.is_restless or self._policies.refused(name)  # others may know a later one
            for name, served in self._models.items()
        ) or any(model.unreadable for model in found.values())
        self._watched = self._paths_of(seen)
        self.refreshed = self.refreshed or all(load.is_given_up for load in self._under_way)
        self._publish_status()

    def _bring_up(self, found: Mapping[str, ModelOnDisk]) -> None:
        """Apply each model's state on disk. Calls to new models get StillLoading until those are loaded."""
        self._not_loaded = found.keys() - self._models.keys()
        is_changed = bool(self._not_loaded) or not self._gives_each
        if is_changed:
            self._give_routes(at_once=True)
        step, under_way = max(1, len(found) // TABLES_AT_START), 0
        for done, (name, model) in enumerate(found.items()):
            self.progress = (done - under_way, len(found))
            if not self._gives_each and done % step == 0:
                self._give_routes(at_once=True)
            if model.unreadable:
                self._leave(name, "its directory cannot be read", model.unreadable)
            else:
                self._update(name, model)
            self._not_loaded.discard(name)
            under_way += self._models[name].is_coming
        self.progress = (len(found) - under_way, len(found))
        self._gives_each = True
        if is_changed:
            self._give_routes()

    def _is_suddenly_empty(self, seen: Survey) -> bool:
        """Whether all models vanished at once without a file that marks it as intended. Unloaded ones do not count."""
        return seen.is_empty and any(
            served.served_versions for name, served in self._models.items() if name not in self.withheld
        )

    def _serve_on(self, what: str, details: str, reason: str) -> None:
        """Keep serving everything as it is, since its state on disk is unknown. Logged once."""
        if (text := f"{what}, all versions stay in service: {details}") != self._unreadable:
            log.error("%s", text)
        self._unreadable, self._restless = text, True
        for served in self._models.values():
            served.unfollowed = reason
        self._publish_status()

    def _paths_of(self, seen: Survey) -> tuple[str, ...]:
        """The directories, whose times tell of what came and went; the policies; and the files of refused versions,
        which may be mended in place. Those of the others are immutable: a full look is early enough for them."""
        root = str(self._root)
        return (
            *seen.watched,
            *(
                f"{root}/{name}/{version}/{file.name}"
                for name, served in self._models.items()
                for version, refusal in served.refused.items()
                for file in refusal.stamp
            ),
        )

    def _warn_of_misplaced(self, found: Mapping[str, str]) -> None:
        """Warn once of directories that may be intended as a model or a version."""
        new = {path: expected for path, expected in found.items() if path not in self._misplaced}
        for path, expected in list(new.items())[:MISPLACED_LOGGED_MAX]:
            log.warning("models: %s is ignored: %s", quoted(path), expected)
        if len(new) > MISPLACED_LOGGED_MAX:
            log.warning("models: %d more directories are ignored", len(new) - MISPLACED_LOGGED_MAX)
        self._misplaced = found

    def _leave(self, name: str, why: str, details: str) -> None:
        """Keep serving a model as it is, since its state on disk is unknown. Logged once; callers get no details."""
        served = self._models.setdefault(name, Served())
        if why != served.unfollowed:
            log.error("%s: %s, and its versions stay in service: %s", name, why, details)
        served.unfollowed = why

    def _remove(self, name: str) -> None:
        """The model's directory is gone, or it is not to be served."""
        self._policies.forget(name)
        self._update(name, ModelOnDisk({}, b""))
        if self._models[name].is_over:
            del self._models[name]

    def _update(self, name: str, model: ModelOnDisk) -> None:
        served = self._models.setdefault(name, Served())
        if served.unfollowed:
            log.info("%s: it can be read again, and is followed", name)
        served.unfollowed = ""
        served.retiring = {
            version: served_version for version, served_version in served.retiring.items() if not served_version.idle
        }
        before, before_policy, before_reasons = dict(served.served_versions), served.policy.versions, served.reasons()
        self._loader.update(name, served, model)
        for version in sorted(before.keys() - served.served_versions.keys()):
            why = "another takes its place" if version in model.versions else "its directory is gone"
            why = "it is unloaded" if name in self.withheld else why
            log.info("%s/%d retires, %s: it finishes requests in flight", name, version, why)
        if served.served_versions != before or served.policy.versions != before_policy:
            self._give_routes()
            served.retiring |= {
                v: served_version
                for v, served_version in before.items()
                if served.served_versions.get(v) is not served_version
            }
            _log_names(name, served)
        elif not served.served_versions and served.reasons() != before_reasons:
            self._give_routes()  # so that callers get the new reason

    def _is_loading(self, name: str, served: Served) -> None:
        """Update the status when a load begins, which may take a while."""
        self._status = {**self._status, name: served.status(self._policies.refused(name))}

    def _give_routes(self, *, at_once: bool = False) -> None:
        """Publish routes for the versions served now."""
        if not (self._gives_each or at_once):
            return
        models = {name: served.routes() for name, served in self._models.items() if served.served_versions}
        reasons = {name: served.reasons() for name, served in self._models.items() if not served.served_versions}
        refused = {name: each[max(each)] for name, each in reasons.items() if each}
        coming = {name for name, served in self._models.items() if served.is_coming}
        self._serve(Routes(models, refused, loading=frozenset(self._not_loaded | coming)))

    def _publish_status(self) -> None:
        """Publish a new status."""
        self._status = {
            name: served.status(self._policies.refused(name)) for name, served in sorted(self._models.items())
        }


def _log_names(name: str, served: Served) -> None:
    """Log the default version, and warn of labels that name a version that is not served."""
    if not served.served_versions:
        return
    versions = served.policy.versions
    latest = selection.latest(served.served_versions, versions)
    log.info("%s: version %d answers requests that name no version", name, latest)
    named = {"latest": versions.latest, **{f"label {k!r}": v for k, v in versions.labels.items()}}
    for what, version in named.items():
        if version is not None and version not in served.served_versions:
            why = served.reasons().get(version, "it is not in the repository")
            log.warning("%s: %s names version %d, which does not serve: %s", name, what, version, why)
