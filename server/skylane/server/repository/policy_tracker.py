"""Which policy a model is served by: that of its model.toml, or the last that could be used, while that cannot be.

The workers of one server keep the last ones in a directory that they share. So one that takes the place of another, and
finds a model.toml that cannot be used, serves by the same policy as its neighbours: a roll-back stays one. A server
that starts anew knows none, and guesses none: the defaults could let a version answer that was rolled back.
"""

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.policy import BadPolicy, Policy
from skylane.server.repository.scanner import ModelOnDisk

log = logging.getLogger(__name__)

DIRECTORY: Final = "policies"


@dataclass
class _Seen:
    """What model.toml was at the last look."""

    content: tuple[bytes, str]
    refused: str = ""
    policy: Policy | None = None


class PolicyTracker:
    """Decides by which policy each model is served. For one thread at a time."""

    def __init__(self, shared: Path | None) -> None:
        """`shared`: what the workers of this server have to themselves; None for a process alone."""
        self._seen: dict[str, _Seen] = {}
        self._kept = _Kept(shared / DIRECTORY if shared else None)

    def policy(self, model: str, directory: ModelOnDisk) -> Policy | None:
        """The policy to serve by, now that this was directory; None: none is known. Logs each change once."""
        content, before = (directory.policy, directory.policy_unreadable), self._seen.get(model)
        if before and before.content == content and not before.refused:
            return before.policy
        seen = self._seen[model] = _Seen(content)
        try:
            seen.policy = directory.decoded()
        except BadPolicy as error:
            seen.policy, seen.refused = self._kept.last(model), str(error)
        else:
            self._kept.keep(model, directory.policy)
        if before is None or before.content != content:
            _tell(model, seen, is_first=before is None)
        return seen.policy

    def refused(self, model: str) -> str:
        """Why its model.toml cannot be used; empty if it can."""
        return self._seen[model].refused if model in self._seen else ""

    def forget(self, model: str) -> None:
        """The model is gone: one of that name that comes again is another."""
        if self._seen.pop(model, None):
            self._kept.forget(model)


def _tell(model: str, seen: _Seen, *, is_first: bool) -> None:
    if seen.refused:
        last = "it is served by the last model.toml that could be used"
        then = last if seen.policy else "it is not served until it can be"
        log.error("%s: %s; %s", model, seen.refused, then)
    elif not is_first:
        log.info("%s: model.toml has changed and takes effect", model)


class _Kept:
    """The last model.toml of each model that could be used, in files that the other workers find. Never raises."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._own: dict[str, bytes] = {}
        """What this process kept: all that there is where nobody shares, or the files cannot be written."""

    def keep(self, model: str, text: bytes) -> None:
        self._own[model] = text
        if self._directory is None or self._shared(model) == text:
            return
        new = self._directory / f".{model}.{os.getpid()}"  # of its own: others may write at the same time
        try:
            self._directory.mkdir(exist_ok=True)
            new.write_bytes(text)
            new.replace(self._directory / model)
        except OSError as error:
            log.warning("%s: its model.toml cannot be kept for other workers: %s", model, error)

    def last(self, model: str) -> Policy | None:
        shared = self._shared(model)
        text = self._own.get(model) if shared is None else shared
        with contextlib.suppress(BadPolicy):
            return None if text is None else policies.decode(text)
        return None  # the file was damaged

    def forget(self, model: str) -> None:
        self._own.pop(model, None)
        if self._directory is not None:
            with contextlib.suppress(OSError):
                (self._directory / model).unlink()

    def _shared(self, model: str) -> bytes | None:
        try:
            return None if self._directory is None else (self._directory / model).read_bytes()
        except OSError:
            return None
