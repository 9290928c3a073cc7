"""What is held of one model: its versions that serve, load, retire or were refused, and their status."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from skylane.policy import Policy
from skylane.server.engine.routes import ModelRoutes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.loading import Load, Refusal
from skylane.server.repository.status import ModelStatus, State, VersionStatus


@dataclass
class Served:
    """One model."""

    policy: Policy = field(default_factory=Policy)
    held_back: bool = False
    """Whether no version is loaded, since by which policy is not known."""
    served_versions: dict[int, ServedVersion] = field(default_factory=dict)
    """Versions that answer."""
    outdated: set[int] = field(default_factory=set)
    """Of these, versions whose session was made with options from before. They answer until another takes over."""
    loading: dict[int, Load] = field(default_factory=dict)
    retiring: dict[int, ServedVersion] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)
    """Versions that are not tried before their files change."""
    being_written: set[int] = field(default_factory=set)
    """Versions of which the log says so."""
    unfollowed: str = ""
    """Why it serves on as it is, whatever the repository holds; empty if it is followed."""

    @property
    def is_restless(self) -> bool:
        """Whether there may be something to do for it although nothing changes on disk."""
        return bool(self.retiring) or any(not refusal.is_final for refusal in self.refused.values())

    @property
    def is_coming(self) -> bool:
        """Whether none of its versions answers and one is still being loaded."""
        return not self.served_versions and any(not load.is_given_up for load in self.loading.values())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of a model that has no versions any more."""
        return not (self.served_versions or self.retiring)

    def reasons(self) -> dict[int, str]:
        """Version → why it does not serve."""
        return {version: reason_of(refusal) for version, refusal in self.refused.items()}

    def routes(self) -> ModelRoutes:
        """Which version answers. There must be one."""
        versions = self.policy.versions
        return ModelRoutes(
            versions=dict(self.served_versions),
            latest=selection.latest(self.served_versions, versions),
            labels=versions.labels,
            refused=self.reasons(),
        )

    def status(self, policy_refused: str) -> ModelStatus:
        """For those who ask. `policy_refused`: why its model.toml cannot be used; empty if it can."""
        versions = {version: VersionStatus(State.RETIRING) for version in self.retiring}
        versions |= {version: VersionStatus(State.LOADING) for version in self.loading}
        for version, refusal in self.refused.items():
            state = State.FAILED if refusal.is_final else State.LOADING
            versions[version] = VersionStatus(state, reason_of(refusal))
        for version in self.served_versions:
            versions[version] = VersionStatus(State.READY, self._stale(version, policy_refused))
        ordered: Mapping[int, VersionStatus] = dict(sorted(versions.items(), reverse=True))
        return ModelStatus(ordered, self.policy.versions.labels, policy_refused, self.unfollowed)

    def _stale(self, version: int, policy_refused: str) -> str:
        """Why a version that serves does not do so as its policy now says; empty if it does."""
        if self.unfollowed:
            return f"it serves on as it is: {self.unfollowed}"
        if version in self.refused:
            return (
                f"it serves on with the session options from before, since it cannot be loaded with the new ones: "
                f"{self.refused[version].reason}"
            )
        return f"it serves by the last policy that could be used: {policy_refused}" if policy_refused else ""


def reason_of(refusal: Refusal) -> str:
    """Why the version does not serve."""
    return refusal.reason if refusal.is_final else f"it is being written: {refusal.reason}"
