"""Who may record outcomes of which model, and where they go, whatever the protocol."""

import asyncio
import logging
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
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
from skylane.server.engine.routes import Routes
from skylane.server.host.addresses import is_loopback
from skylane.server.observability.snapshot import ReceiptSnapshot

if TYPE_CHECKING:
    from skylane.outcomes import Receipt

log = logging.getLogger(__name__)

RETRY_MS: Final = 1000
"""When to send again what there was no room for."""

RESULTS: Final = ("accepted", "repeated", "corrected", "unknown", "refused")
"""Fields of a receipt that are numbers of outcomes."""


class Recorder(Protocol):
    """Writes outcomes on a thread of its own. See skylane.outcomes.recorder."""

    def submit(
        self, model: str, sender: str | None, columns: Any, problems: dict[int, str]
    ) -> "Future[Receipt] | None":
        """The receipt, once the outcomes are on the disk; None if too many are waiting. `sender`: None for no token."""
        ...

    def close(self) -> None:
        """Write what is waiting, and end. Raises OSError."""


class ReceiptCounter:
    """Adds up the receipts for each model. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, dict[str, int]] = {}
        """Model → field of a receipt → outcomes."""

    def add(self, model: str, receipt: "Receipt") -> None:
        """Count the outcomes of a receipt. `model`: one that exists, because it becomes a label of metrics."""
        with self._lock:
            counts = self._counts.setdefault(model, dict.fromkeys(RESULTS, 0))
            for result in RESULTS:
                counts[result] += getattr(receipt, result)

    def snapshots(self) -> list[ReceiptSnapshot]:
        """The counts of each model that had outcomes."""
        with self._lock:
            return [ReceiptSnapshot(model, counts.copy()) for model, counts in self._counts.items()]


@dataclass(frozen=True, kw_only=True)
class OutcomeRecording:
    """What the services for outcomes share."""

    recorder: Recorder | None
    """None: the server has no journal."""
    directory: ModelControl
    loopback: bool
    """Whether the server's ports are reachable from this machine alone. Then so is every caller."""
    receipts: ReceiptCounter = field(default_factory=ReceiptCounter)

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
        future.add_done_callback(partial(self._count, model))
        try:
            return await asyncio.wrap_future(future)
        except OSError as error:
            reason = error.strerror or str(error)
            raise NotRecorded(f"the outcomes could not be written ({reason}): send them again later") from error

    def _count(self, model: str, future: "Future[Receipt]") -> None:
        """Count a submission that has ended, whether its caller still waits or not: what is written is written."""
        if future.exception() is None:
            self.receipts.add(model, future.result())

    def check_caller(self, grant: Grant) -> Recorder:
        """Raise ServingError unless this caller may record outcomes of some model here."""
        if self.recorder is None:
            raise NotConfigured("this server records no outcomes: start it with --journal DIR")
        if grant is ANYONE and not self.loopback:
            raise PermissionDenied(
                "without tokens outcomes are recorded only by a server that listens on loopback addresses alone: "
                "start it with --tokens FILE, and create a token with --actions outcome"
            )
        if grant is not ANYONE:
            grant.check("outcome")
        return self.recorder

    def check(self, grant: Grant, model: str) -> Recorder:
        """Raise ServingError unless this caller may record outcomes of this model here."""
        recorder = self.check_caller(grant)
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
        return recorder


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
    store = OutcomeStore(settings.journal, hashes_entities=lambda model: hashes_entities(directory.routes(), model))
    return OutcomeRecording(recorder=OutcomeRecorder(store), directory=directory, loopback=loopback)


def hashes_entities(routes: Routes, model: str) -> bool | None:
    """Whether the model's configuration says that entities are hashed; None if it is not loaded, or names no entity."""
    served = routes.models[model].versions.values() if model in routes.models else ()
    named = [each.monitor.hashes_entity for each in served if each.monitor.entity is not None]
    return any(named) if named else None
