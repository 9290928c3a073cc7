"""Hooks into the engine for tracing and the access log. Called once per batch, and not at all without an observer."""

from collections.abc import Sequence
from typing import Protocol

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Call, Interface
from skylane.server.engine.batching import Batch


class Observer(Protocol):
    """Called as calls are processed, on whichever thread processes them. Must be quick, and must not raise."""

    def bound(self, interface: Interface, task: BatchTask) -> None:
        """These calls were decoded and match the model's inputs."""

    def ran(self, interface: Interface, batch: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        """A batch was run and its replies encoded; they are sent next.

        Instants on the engine's clock: the batch left the queue, its arrays were gathered, its outputs were computed.
        """

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        """For each leader, the followers that receive the same answer next."""


class Observers:
    """Calls several observers one after the other."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def bound(self, interface: Interface, task: BatchTask) -> None:
        for each in self._observers:
            each.bound(interface, task)

    def ran(self, interface: Interface, batch: Batch, began_at: float, gathered_at: float, ran_at: float) -> None:
        for each in self._observers:
            each.ran(interface, batch, began_at, gathered_at, ran_at)

    def followed(self, leaders: Sequence[Call], followers: Sequence[Sequence[Call]]) -> None:
        for each in self._observers:
            each.followed(leaders, followers)


def all_of(*observers: Observer | None) -> Observer | None:
    """One observer for all that are not None; None if there is none."""
    present = [each for each in observers if each is not None]
    return Observers(*present) if len(present) > 1 else next(iter(present), None)
