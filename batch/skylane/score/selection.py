"""Which version scores: `wine`, `wine@3` (or `wine/3`) or `wine:stable`, of a model repository."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.policy import Policy
from skylane.server.repository import selection

_REFERENCE: Final = re.compile(r"(?P<model>[^@:/]+)(?:[@/](?P<version>[1-9][0-9]*)|:(?P<label>[^@:]+))?")
_VERSION: Final = re.compile(r"[1-9][0-9]*")


class ScoreError(Exception):
    """Nothing can be scored; the message says what was expected and what was received."""


@dataclass(frozen=True)
class Selected:
    """A version's directory, and the policy of its model."""

    model: str
    version: int
    directory: Path
    policy: Policy


def select(reference: str, models: Path) -> Selected:
    """The version that a reference names. Without `@version` or `:label`: the one that the server would answer with.

    Raises ScoreError.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ScoreError(f"model: expected NAME, NAME@VERSION or NAME:LABEL, received {reference!r}")
    model = match["model"]
    directory = models / model
    versions = _versions(directory)
    if not versions:
        others = sorted(each.name for each in models.iterdir() if _versions(each)) if models.is_dir() else []
        known = f"it has {', '.join(others)}" if others else "it has no model"
        raise ScoreError(f"model: there is no version of {model!r} in {models}: {known}")
    policy = _policy(directory)
    version = _choice(match["version"], match["label"], versions, policy, model)
    if version not in versions:
        known = ", ".join(map(str, sorted(versions)))
        raise ScoreError(f"model: {model!r} has no version {version} in {models}: it has {known}")
    return Selected(model, version, directory / str(version), policy)


def _choice(version: str | None, label: str | None, versions: set[int], policy: Policy, model: str) -> int:
    if version is not None:
        return int(version)
    if label is None:
        return selection.latest(versions, policy.versions)
    if label not in policy.versions.labels:
        known = ", ".join(policy.versions.labels) or "none"
        raise ScoreError(f"model: {model!r} has no label {label!r}: model.toml has {known}")
    return policy.versions.labels[label]


def _versions(directory: Path) -> set[int]:
    if not directory.is_dir():
        return set()
    return {int(each.name) for each in directory.iterdir() if _VERSION.fullmatch(each.name) and each.is_dir()}


def _policy(directory: Path) -> Policy:
    try:
        return policies.decode((directory / "model.toml").read_bytes())
    except FileNotFoundError:
        return Policy()
    except policies.BadPolicy as error:
        raise ScoreError(f"{directory / 'model.toml'}: {error}") from error
