"""Which policy a model is served with: that of its model.toml or, while that is invalid, the last valid one.

The workers of a server keep the last valid policies in a directory that they share. So a worker that replaces another,
and reads an invalid model.toml, serves with the same policy as the others: a roll-back stays in effect. A server that
has just started has no valid policy and does not use the defaults, with which a rolled-back version could answer.
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
class _PolicyState:
    """A model.toml as it was last read."""

    content: tuple[bytes, str]
    refused: str = ""
    policy: Policy | None = None


class PolicyTracker:
    """Decides which policy each model is served with. For one thread at a time."""

    def __init__(self, shared: Path | None) -> None:
        """`shared`: a directory that the workers of this server share; None for a single process."""
        self._states: dict[str, _PolicyState] = {}
        self._kept = _Kept(shared / DIRECTORY if shared else None)

    def policy(self, model: str, directory: ModelOnDisk) -> Policy | None:
        """The policy for the model's directory as just read; None if there is no valid one. Logs each change once."""
        content, before = (directory.policy, directory.policy_unreadable), self._states.get(model)
        if before and before.content == content and not before.refused:
            return before.policy
        state = self._states[model] = _PolicyState(content)
        try:
            state.policy = directory.decoded()
        except BadPolicy as error:
            state.policy, state.refused = self._kept.last(model), str(error)
        else:
            self._kept.keep(model, directory.policy)
        if before is None or before.content != content:
            _log_change(model, state, is_first=before is None)
        return state.policy

    def refused(self, model: str) -> str:
        """Why its model.toml cannot be used; empty if it can."""
        return self._states[model].refused if model in self._states else ""

    def forget(self, model: str) -> None:
        """Remove a deleted model's policies: a later model of that name is another one."""
        if self._states.pop(model, None):
            self._kept.forget(model)


def _log_change(model: str, state: _PolicyState, *, is_first: bool) -> None:
    if state.refused:
        last = "it is served by the last model.toml that could be used"
        then = last if state.policy else "it is not served until it can be"
        log.error("%s: %s; %s", model, state.refused, then)
    elif not is_first:
        log.info("%s: model.toml has changed and takes effect", model)


class _Kept:
    """The last valid model.toml of each model, in files that the other workers read. Never raises."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._own: dict[str, bytes] = {}
        """Those of this process, for use if there is no shared directory, or the files cannot be written."""

    def keep(self, model: str, text: bytes) -> None:
        self._own[model] = text
        if self._directory is None or self._shared(model) == text:
            return
        new = self._directory / f".{model}.{os.getpid()}"  # own name: others may write now, too
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
