"""Which versions of a model should be loaded, and which answers by default. Pure."""

from collections.abc import Collection

from skylane.policy import Versions


def wanted(usable: Collection[int], policy: Versions) -> set[int]:
    """The versions to have loaded, of those that are on disk and not known to be broken."""
    newest = sorted(usable, reverse=True)[: policy.keep]
    named = {*policy.pinned, *policy.labels.values(), *([policy.latest] if policy.latest else [])}
    return {*newest, *(named & set(usable))}


def latest(ready: Collection[int], policy: Versions) -> int:
    """The version that answers requests that name no version: the policy's if it is ready, else the newest that is.

    `ready` is not empty.
    """
    return policy.latest if policy.latest is not None and policy.latest in ready else max(ready)
