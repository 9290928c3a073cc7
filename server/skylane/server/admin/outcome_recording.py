"""Who may record outcomes of which model, and where they go, whatever the protocol."""

import asyncio
import logging
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from skylane.server.admin.model_control import ModelControl
from skylane.server.core.errors import (
    BadRequest,
    CannotStart,
    ModelNotFound,
    NotConfigured,
    NotRecorded,
    Overloaded,
    PermissionDenied,
)
from skylane.server.core.outcome_columns import OutcomeColumns
from skylane.server.core.settings import Settings
from skylane.server.core.text import listed, quoted, suggestion
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.host.addresses import is_loopback

if TYPE_CHECKING:
    from skylane.outcomes import Receipt

log = logging.getLogger(__name__)

RETRY_MS: Final = 1000
"""When to send again what there was no room for."""


class Recorder(Protocol):
    """Writes outcomes on a thread of its own. See skylane.outcomes.recorder."""

    def submit(
        self, model: str, sender: str | None, columns: Any, problems: dict[int, str]
    ) -> "Future[Receipt] | None":
        """The receipt, once the outcomes are on the disk; None if too many are waiting. `sender`: None for no token."""
        ...

    def close(self) -> None:
        """Write what is waiting, and end. Raises OSError."""


@dataclass(frozen=True, kw_only=True)
class OutcomeRecording:
    """What the services for outcomes share."""

    recorder: Recorder | None
    """None: the server has no journal."""
    directory: ModelControl
    loopback: bool
    """Whether the server's ports are reachable from this machine alone. Then so is every caller."""

    @property
    def is_configured(self) -> bool:
        """Whether outcomes are recorded at all."""
        return self.recorder is not None

    def close(self) -> None:
        """Write what is waiting. Blocks."""
        if self.recorder is not None:
            try:
                self.recorder.close()
            except OSError as error:
                log.warning("outcomes: the last segments could not be closed: %s", error)

    async def record(self, grant: Grant, model: str, columns: OutcomeColumns) -> "Receipt":
        """Record the outcomes; returns when they are on the disk. Raises ServingError."""
        recorder = self.check(grant, model)
        columns_by_name = {name: values for name, values in vars(columns).items() if name != "problems"}
        sender = None if grant is ANYONE else grant.name
        future = recorder.submit(model, sender, columns_by_name, columns.problems)
        if future is None:
            raise Overloaded("too many outcomes are waiting to be written: send these again later", RETRY_MS)
        try:
            return await asyncio.wrap_future(future)
        except OSError as error:
            reason = error.strerror or str(error)
            raise NotRecorded(f"the outcomes could not be written ({reason}): send them again later") from error

    def check(self, grant: Grant, model: str) -> Recorder:
        """Raise ServingError unless this caller may record outcomes of this model here."""
        if self.recorder is None:
            raise NotConfigured("this server records no outcomes: start it with --journal DIR")
        if grant is ANYONE and not self.loopback:
            raise PermissionDenied(
                "without tokens outcomes are recorded only by a server that listens on loopback addresses alone: "
                "start it with --tokens FILE, and create a token with --actions outcome"
            )
        if grant is not ANYONE:
            grant.check("outcome", model)
        if not model:
            raise BadRequest("model: expected the name of a model, received nothing")
        known: Collection[str] = self.directory.status().keys() | self.directory.repository.withheld
        if model not in known:
            seen = sorted(name for name in known if grant is ANYONE or grant.may("outcome", name))
            raise ModelNotFound(
                f"there is no model {quoted(model)}: {suggestion(model, seen)}there are: {listed(seen)}"
            )
        return self.recorder


def outcome_recording(settings: Settings, directory: ModelControl) -> OutcomeRecording:
    """What the settings say of outcomes; the journal's directory has been checked. Raises CannotStart."""
    if settings.journal is None:
        return OutcomeRecording(recorder=None, directory=directory, loopback=False)
    from skylane.outcomes.recorder import OutcomeRecorder  # only now: pyarrow costs memory, and may be missing
    from skylane.outcomes.store import OutcomeStore

    try:
        loopback = settings.tokens is None and is_loopback(settings.host)
    except OSError as error:
        raise CannotStart(f"host: {error}") from error
    return OutcomeRecording(
        recorder=OutcomeRecorder(OutcomeStore(settings.journal)), directory=directory, loopback=loopback
    )
