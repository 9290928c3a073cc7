"""What there is to tell of the models of a repository. Plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


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
    """Why it was refused, or still loads; of one that is ready, why it does not serve as its policy now says."""


@dataclass(frozen=True)
class ModelStatus:
    """One model, for those who ask."""

    versions: Mapping[int, VersionStatus]
    labels: Mapping[str, int]
    policy_refused: str = ""
    """Why its model.toml cannot be used; empty if it can."""
    unfollowed: str = ""
    """Why it serves on as it is, whatever the repository holds; empty if it is followed."""

    @property
    def ready(self) -> bool:
        """Whether any version answers."""
        return any(version.state is State.READY for version in self.versions.values())
