"""Inputs of one request over HTTP, as its body has them, and the model's arrays made of them. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from skylane.server.core import input_binding
from skylane.server.core.errors import ServingError
from skylane.server.core.types import Array, Interface


class RequestInputs(ABC):
    """What the protocols' requests have in common."""

    _bound: tuple[Interface, Sequence[Array] | ServingError] | None = None

    @abstractmethod
    def inputs(self, interface: Interface) -> Mapping[str, Array]:
        """The inputs by name. Raises InputMismatch."""

    def prepare(self, interface: Interface) -> None:
        """Make the arrays for this interface now, on this thread. An error is kept until they are asked for."""
        try:
            bound: Sequence[Array] | ServingError = input_binding.bind(interface, self.inputs(interface))
        except ServingError as error:
            bound = error
        self._bound = interface, bound

    def arrays(self, interface: Interface) -> Sequence[Array]:
        """The model's inputs. Raises InputMismatch."""
        if self._bound is None or self._bound[0] is not interface:  # another version answers by now
            return input_binding.bind(interface, self.inputs(interface))
        bound = self._bound[1]
        if isinstance(bound, ServingError):
            raise bound
        return bound
