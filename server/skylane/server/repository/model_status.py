"""Status of the models of a repository. Plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """State of a version's life cycle."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    RETIRING = "retiring"


@dataclass(frozen=True)
class VersionStatus:
    """Status of one version."""

    state: State
    reason: str = ""
    """Why it was refused, or still loads; of a version that is ready, why it does not follow its present policy."""


@dataclass(frozen=True)
class ModelStatus:
    """Status of one model."""

    versions: Mapping[int, VersionStatus]
    labels: Mapping[str, int]
    policy_refused: str = ""
    """Why its model.toml cannot be used; empty if it can."""
    unfollowed: str = ""
    """Why it is kept as it is, whatever the repository holds; empty if it follows the repository."""

    @property
    def ready(self) -> bool:
        """Whether any version answers."""
        return any(version.state is State.READY for version in self.versions.values())
