"""Runs a lone row twice, for graphs that would answer it otherwise than in a batch."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from skylane.server.core.types import Array


class _Runner(Protocol):
    def run(self, inputs: Sequence[Array]) -> Sequence[Array]: ...


class PairedRows:
    """A runner of batches of two rows or more. See repository/row_independence.py."""

    def __init__(self, runner: _Runner) -> None:
        self._run = runner.run

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """All outputs for these inputs."""
        if len(inputs[0]) != 1:
            return self._run(inputs)
        return [output[:1] for output in self._run([np.concatenate((array, array)) for array in inputs])]
