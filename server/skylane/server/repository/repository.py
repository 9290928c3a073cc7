"""Keeps what is served equal to what is on disk.

`refresh` compares the two and mends the difference: a new version is verified, loaded and warmed up beside the one
that serves, and takes its place only when it is ready; a broken one is refused with its reason, and the one before
serves on. Call it as often as you like, from one thread at a time; it knows no other time than being called.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from skylane.manifest import BrokenVersion
from skylane.policy import Policy
from skylane.server.core.text import quoted
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.scan_schedule import ScanSchedule
from skylane.server.repository.scanner import POLICY_FILE, ModelOnDisk, Stamp, directories, glance, misplaced, scan

log = logging.getLogger(__name__)

MISPLACED_TOLD_MAX: Final = 20
"""Lines in the log for directories that are found at once and ignored."""

Load = Callable[[Path, str, int, Policy], LoadedModel]
"""(directory, model, version, policy) → a model that may serve. Raises BrokenVersion."""


class State(Enum):
    """Where a version is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    RETIRING = "retiring"


@dataclass(frozen=True)
class VersionStatus:
    """One version, for those who ask."""

    state: State
    reason: str = ""
    """Why it was refused; of one that is ready, why it does not serve as its policy now says."""


@dataclass(frozen=True)
class ModelStatus:
    """One model, for those who ask."""

    versions: Mapping[int, VersionStatus]
    labels: Mapping[str, int]
    policy_refused: str = ""
    """Why its model.toml cannot be used; empty if it can."""

    @property
    def ready(self) -> bool:
        """Whether any version answers."""
        return any(version.state is State.READY for version in self.versions.values())


@dataclass
class _Served:
    """What we hold of one model."""

    policy: Policy = field(default_factory=Policy)
    held_back: bool = False
    """Whether no version is loaded, since by which policy is not known."""
    served_versions: dict[int, ServedVersion] = field(default_factory=dict)
    retiring: dict[int, ServedVersion] = field(default_factory=dict)
    broken: dict[int, tuple[Stamp, str]] = field(default_factory=dict)
    """Version → its files when it was refused, and why: it is tried again when they change."""
    unreadable: str = ""
    """Why its directory could not be read the last time."""


class Repository:
    """The models of one directory."""

    def __init__(self, root: Path, load: Load, serve: Callable[[Routes], None], shared: Path | None = None) -> None:
        """`serve` is given the new routes after every change; `load` makes a version ready. `shared`: see
        PolicyTracker.
        """
        self._root, self._load, self._serve = root, load, serve
        self._models: dict[str, _Served] = {}
        self._loading: tuple[str, int] | None = None
        self._unreadable = ""
        self._misplaced: Mapping[str, str] = {}
        self._policies = PolicyTracker(shared)
        self.withheld: frozenset[str] = frozenset()
        """Models that are not served although they are there."""
        self._status: Mapping[str, ModelStatus] = {}
        self.refreshed = False
        """Whether everything that was on disk at the start has been loaded or refused."""
        self._looks = ScanSchedule()
        self._watched: tuple[str, ...] = (str(root),)
        """Where a change shows itself at a glance, as of the last look."""
        self._restless = False
        """Whether the next look may find something new although nothing changes on disk."""

    @property
    def status(self) -> Mapping[str, ModelStatus]:
        """Every model by name, as of the last change. Safe to read from any thread."""
        return self._status

    def served_version(self, model: str, version: int) -> ServedVersion | None:
        """The lane of a version that serves."""
        served = self._models.get(model)
        return served.served_versions.get(version) if served else None

    def is_stale(self, now: float) -> bool:
        """Whether `refresh` may find something to do: it is not, for nearly all of the time, and this costs a tenth.

        `now`: seconds of any clock that does not run back. For one thread; another may be in `refresh`.
        """
        paths = self._watched
        return self._looks.is_due(paths, glance(paths), now) or self._restless

    def refresh(self) -> None:
        """Make what is served equal to what is on disk. Never raises for what is wrong there: it is logged and told."""
        try:
            places, found, others = directories(self._root), scan(self._root), misplaced(self._root)
        except OSError as error:
            if str(error) != self._unreadable:
                log.error("models: %s cannot be read, everything serves on as it is: %s", self._root, error)
            self._unreadable, self._restless = str(error), True
            return
        if self._unreadable:
            log.info("models: %s can be read again, and is followed", self._root)
        self._unreadable = ""
        self._tell_of_misplaced(others)
        found = {name: model for name, model in found.items() if name not in self.withheld}
        for name in self._models.keys() - found.keys():
            self._policies.forget(name)
            self._update(name, ModelOnDisk({}, b""))
            if not self._models[name].retiring:
                del self._models[name]
        for name, model in found.items():
            if model.versions and not model.unreadable:
                # Of all before any is loaded, which may take seconds: another worker may come to follow a newer one
                # meanwhile, which this one must not replace in what they share.
                self._policies.policy(name, model)
        for name, model in found.items():
            if model.unreadable:
                self._leave(name, model.unreadable)
            else:
                self._update(name, model)
        self._restless = any(
            served.retiring or served.unreadable or self._policies.refused(name)  # others may know a later one
            for name, served in self._models.items()
        )
        self._watched = self._paths_of(places, found)
        self.refreshed = True
        self._tell()

    def _paths_of(self, places: Sequence[Path], found: Mapping[str, ModelOnDisk]) -> tuple[str, ...]:
        """The directories, whose times tell of what came and went; the policies; and the files of refused versions,
        which may be mended in place. Those of the others are immutable: a full look is early enough for them."""
        paths = [self._root]
        for place in places:
            paths += [place, place / POLICY_FILE]
            if model := found.get(place.name):
                broken = self._models[place.name].broken
                paths += [place / str(version) for version in model.versions]
                paths += [place / str(version) / file for version, (stamp, _) in broken.items() for file, *_ in stamp]
        return tuple(map(str, paths))

    def _tell_of_misplaced(self, found: Mapping[str, str]) -> None:
        """Warn once of what an operator may have meant as a model or a version."""
        new = {path: expected for path, expected in found.items() if path not in self._misplaced}
        for path, expected in list(new.items())[:MISPLACED_TOLD_MAX]:
            log.warning("models: %s is ignored: %s", quoted(path), expected)
        if len(new) > MISPLACED_TOLD_MAX:
            log.warning("models: %d more directories are ignored", len(new) - MISPLACED_TOLD_MAX)
        self._misplaced = found

    def _leave(self, name: str, why: str) -> None:
        """Let a model serve on as it is, since nothing is known of it. Logged once."""
        served = self._models.setdefault(name, _Served())
        if why != served.unreadable:
            log.error("%s: it cannot be read, and serves on as it is: %s", name, why)
        served.unreadable = why

    def _update(self, name: str, model: ModelOnDisk) -> None:
        served = self._models.setdefault(name, _Served())
        if served.unreadable:
            log.info("%s: it can be read again, and is followed", name)
        served.unreadable = ""
        served.retiring = {
            version: served_version for version, served_version in served.retiring.items() if not served_version.idle
        }
        before_broken = served.broken
        served.broken = {v: told for v, told in served.broken.items() if model.versions.get(v) == told[0]}
        before, before_policy = dict(served.served_versions), served.policy.versions
        if model.versions:
            self._apply_policy(name, served, model)
        wanted = set[int]()
        while not served.held_back:
            wanted = selection.wanted(model.versions.keys() - served.broken.keys(), served.policy.versions)
            missing = sorted(wanted - served.served_versions.keys(), reverse=True)
            if not missing:
                break
            self._bring_up(name, missing[0], served, model.versions[missing[0]])
        if not wanted:  # all that is there was refused, as when a new session option is: what served serves on
            served.served_versions = {
                v: served_version
                for v, served_version in (served.served_versions or before).items()
                if v in model.versions
            }
            wanted = set(served.served_versions)
        served.served_versions = {
            version: served_version for version, served_version in served.served_versions.items() if version in wanted
        }
        for version in sorted(before.keys() - served.served_versions.keys()):
            why = "another takes its place" if version in model.versions else "its directory is gone"
            why = "it is unloaded" if name in self.withheld else why
            log.info("%s/%d retires, %s: it finishes what it has begun", name, version, why)
        if served.served_versions != before or served.policy.versions != before_policy:
            self._serve(self._routes())
            served.retiring |= {
                v: served_version
                for v, served_version in before.items()
                if served.served_versions.get(v) is not served_version
            }
            self._tell_of_names(name, served)
        elif not served.served_versions and served.broken != before_broken:
            self._serve(self._routes())  # for its callers, to hear why

    def _tell_of_names(self, name: str, served: _Served) -> None:
        """Log which version answers by default, and warn of names that lead nowhere, as a typo in a roll-back does."""
        if not served.served_versions:
            return
        versions = served.policy.versions
        latest = selection.latest(served.served_versions, versions)
        log.info("%s: version %d answers when none is asked for", name, latest)
        named = {"latest": versions.latest, **{f"label {k!r}": v for k, v in versions.labels.items()}}
        for what, version in named.items():
            if version is not None and version not in served.served_versions:
                why = served.broken[version][1] if version in served.broken else "it is not in the repository"
                log.warning("%s: %s names version %d, which does not serve: %s", name, what, version, why)

    def _apply_policy(self, name: str, served: _Served, model: ModelOnDisk) -> None:
        """Serve by a changed policy; by none if none is known."""
        policy = self._policies.policy(name, model)
        if policy is None:
            newest = max(model.versions)
            why = f"not loaded, since it is not known which is to serve: {self._policies.refused(name)}"
            served.held_back, served.broken = True, {newest: (model.versions[newest], why)}
            return
        if served.held_back:
            served.held_back, served.broken = False, {}
        before, served.policy = served.policy, policy
        if policy.session != before.session:
            served.served_versions = {}  # they serve on by the old routes until the new sessions are ready
        elif (policy.batching, policy.cache) != (before.batching, before.cache):
            served.served_versions = {
                version: ServedVersion(served_version.model, policy)
                for version, served_version in served.served_versions.items()
            }

    def _bring_up(self, name: str, version: int, served: _Served, stamp: Stamp) -> None:
        """Load one version, or note why it cannot be."""
        self._loading = (name, version)
        self._tell()
        started_at = time.monotonic()
        try:
            model = self._load(self._root / name / str(version), name, version, served.policy)
        except BrokenVersion as error:
            served.broken[version] = (stamp, str(error))
            log.error("%s/%d refused: %s", name, version, error)
        except Exception as error:  # a fault of ours in one version must not keep the others from being followed
            served.broken[version] = (stamp, f"it cannot be loaded: {error}")
            log.exception("%s/%d refused: its load met a fault of the server", name, version)
        else:
            served.served_versions[version] = ServedVersion(model, served.policy)
            log.info(
                "%s/%d ready after %.2f s; a run takes %s", name, version, time.monotonic() - started_at, model.cost
            )
        finally:
            self._loading = None

    def _routes(self) -> Routes:
        return Routes(
            {
                name: ModelRoutes(
                    versions=dict(served.served_versions),
                    latest=selection.latest(served.served_versions, served.policy.versions),
                    labels=served.policy.versions.labels,
                    refused={version: why for version, (_, why) in served.broken.items()},
                )
                for name, served in self._models.items()
                if served.served_versions
            },
            refused={
                name: served.broken[max(served.broken)][1]
                for name, served in self._models.items()
                if served.broken and not served.served_versions
            },
        )

    def _tell(self) -> None:
        """Publish a new status."""
        self._status = {name: self._status_of(name, served) for name, served in sorted(self._models.items())}

    def _status_of(self, name: str, served: _Served) -> ModelStatus:
        refused = self._policies.refused(name)
        versions = {version: VersionStatus(State.RETIRING) for version in served.retiring}
        versions |= {version: VersionStatus(State.FAILED, why) for version, (_, why) in served.broken.items()}
        if self._loading and self._loading[0] == name:
            versions[self._loading[1]] = VersionStatus(State.LOADING)
        versions |= {
            version: VersionStatus(State.READY, _stale(served, version, refused)) for version in served.served_versions
        }
        return ModelStatus(dict(sorted(versions.items(), reverse=True)), served.policy.versions.labels, refused)


def _stale(served: _Served, version: int, refused: str) -> str:
    """Why a version that serves does not do so as its policy now says; empty if it does."""
    if version in served.broken:
        return (
            f"it serves on with the session options from before, since it cannot be loaded with the new ones: "
            f"{served.broken[version][1]}"
        )
    return f"it serves by the last policy that could be used: {refused}" if refused else ""
