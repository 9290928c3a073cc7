"""What a scenario of the baselines is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from skylane.bench.lab.baselines.contestants import Contestant
from skylane.bench.lab.baselines.record import Sample, Target
from skylane.bench.lab.baselines.rig import Rig

SEED: Final = 7
ROUNDS_MAX: Final = 3
"""Of a LongScenario."""
Report = Callable[[Sample | str], None]
"""Called with each sample, and with what is measured next."""


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float
    """Of each contestant, in each round, under each load."""


class Scenario(ABC):
    """Contestants that get the same load in turn, round after round."""

    name: str
    """As `--only` takes it."""
    title: str
    """In a line."""
    contestants: tuple[Contestant, ...]
    rows: int = 1
    """Of a request."""
    baseline: str = ""
    """Label of the contestant that the table's ratios are to; empty: there are none."""
    targets: tuple[Target, ...] = ()
    quick: ClassVar[bool] = True
    """Whether --quick tries it."""

    def shortened(self) -> "Scenario":
        """As --quick tries it."""
        return self

    @abstractmethod
    def samples_per_round(self) -> int:
        """How many samples a round yields."""

    @abstractmethod
    def rounds(self, plan: Plan) -> int:
        """How many rounds it has."""

    @abstractmethod
    def measure(self, rig: Rig, plan: Plan, report: Report) -> list[Sample]:
        """All rounds. Raises GeneratorFailed, WrongAnswer, ServerFailed."""


class LongScenario(Scenario):
    """One whose round takes seconds."""

    def rounds(self, plan: Plan) -> int:
        return min(plan.rounds, ROUNDS_MAX)

    def measure(self, rig: Rig, plan: Plan, report: Report) -> list[Sample]:
        samples = []
        for round_ in range(self.rounds(plan)):
            for sample in self.round(rig, plan.seconds, round_, report):
                samples.append(sample)
                report(sample)
        return samples

    @abstractmethod
    def round(self, rig: Rig, seconds: float, round_: int, report: Report) -> Iterator[Sample]:
        """The samples of a round. Raises what `measure` raises."""
