"""State of one model in the repository: its versions that serve, load, retire or were refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from skylane.policy import Policy
from skylane.server.engine.routes import ModelRoutes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.repository import selection
from skylane.server.repository.background_loads import BackgroundLoad
from skylane.server.repository.model_status import ModelStatus, State, VersionStatus
from skylane.server.repository.retry_rules import Refusal


@dataclass
class ModelState:
    """One model."""

    policy: Policy = field(default_factory=Policy)
    lacks_policy: bool = False
    """Whether no version is loaded, because no valid policy is known."""
    served_versions: dict[int, ServedVersion] = field(default_factory=dict)
    """Versions that answer."""
    outdated: set[int] = field(default_factory=set)
    """Served versions whose session was created with earlier options. They answer until a new session is ready."""
    loading: dict[int, BackgroundLoad] = field(default_factory=dict)
    retiring: dict[int, ServedVersion] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)
    """Versions that are not loaded again before their files change."""
    being_written: set[int] = field(default_factory=set)
    """Versions that were logged as being written."""
    unfollowed: str = ""
    """Why it is kept as it is, whatever the repository holds; empty if it follows the repository."""

    @property
    def may_change_by_itself(self) -> bool:
        """Whether a poll may have work to do for it although nothing changed on disk."""
        return bool(self.retiring) or any(not refusal.is_final for refusal in self.refused.values())

    @property
    def is_first_loading(self) -> bool:
        """Whether none of its versions answers and one is still being loaded."""
        return not self.served_versions and any(not load.is_given_up for load in self.loading.values())

    @property
    def is_empty(self) -> bool:
        """Whether no version is served or retiring."""
        return not (self.served_versions or self.retiring)

    def reasons(self) -> dict[int, str]:
        """Version → why it is not served."""
        return {version: refusal.text for version, refusal in self.refused.items()}

    def routes(self) -> ModelRoutes:
        """Which version answers which route. At least one version must be served."""
        versions = self.policy.versions
        return ModelRoutes(
            versions=dict(self.served_versions),
            latest=selection.latest(self.served_versions, versions),
            labels=versions.labels,
            refused=self.reasons(),
        )

    def status(self, policy_refused: str) -> ModelStatus:
        """The model's status. `policy_refused`: why its model.toml cannot be used; empty if it can."""
        versions = {version: VersionStatus(State.RETIRING) for version in self.retiring}
        versions |= {version: VersionStatus(State.LOADING) for version in self.loading}
        for version, refusal in self.refused.items():
            state = State.FAILED if refusal.is_final else State.LOADING
            versions[version] = VersionStatus(state, refusal.text)
        for version in self.served_versions:
            versions[version] = VersionStatus(State.READY, self._deviation(version, policy_refused))
        ordered: Mapping[int, VersionStatus] = dict(sorted(versions.items(), reverse=True))
        return ModelStatus(ordered, self.policy.versions.labels, policy_refused, self.unfollowed)

    def _deviation(self, version: int, policy_refused: str) -> str:
        """Why a served version does not follow its present policy; empty if it does."""
        if self.unfollowed:
            return f"it serves on as it is: {self.unfollowed}"
        if version in self.refused:
            return (
                f"it serves on with the session options from before, since it cannot be loaded with the new ones: "
                f"{self.refused[version].reason}"
            )
        return f"it serves by the last policy that could be used: {policy_refused}" if policy_refused else ""
