"""Who may watch the engine work. Everything is told by the batch; nothing where nobody watches."""

from collections.abc import Sequence
from typing import Protocol

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Call, Interface
from skylane.server.engine.batching import Batch


class Observer(Protocol):
    """Told of calls on their way, by whatever thread they are on. Must be quick, and never raise."""

    def bound(self, interface: Interface, task: BatchTask) -> None:
        """These calls are decoded and fit a model."""

    def ran(self, interface: Interface, cut: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        """A batch was run, and its replies are written; they are sent next.

        Instants on the engine's clock: it left the queue, it had its arrays, it had its outputs.
        """

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        """For each leader, the calls that get the same answer next."""


class Observers:
    """Several, told one after the other."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def bound(self, interface: Interface, task: BatchTask) -> None:
        """See Observer."""
        for each in self._observers:
            each.bound(interface, task)

    def ran(self, interface: Interface, cut: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        """See Observer."""
        for each in self._observers:
            each.ran(interface, cut, began_at, gathered_at, ran_at)

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        """See Observer."""
        for each in self._observers:
            each.followed(leaders, followers)


def all_of(*observers: Observer | None) -> Observer | None:
    """One that tells those that there are; None if there is none."""
    there = [each for each in observers if each is not None]
    return Observers(*there) if len(there) > 1 else next(iter(there), None)
