"""What a person sees while policies are tried: a table of all on a terminal, a line for each search in a log.

The table of the end is the same.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.figures import spread
from skylane.bench.lab.output.live import Current, Screen, plain_table, rate_text
from skylane.bench.lab.tune.policies import OWN, Candidate
from skylane.bench.lab.tune.search import Score, Stage

STAGES: Final = ("FIRST", "SECOND", "LAST")


@dataclass(kw_only=True)
class _Current(Current):
    candidate: Candidate
    rate_per_s: float


class TuneScreen(Screen[_Current]):
    """A table of all policies."""

    def __init__(self, console: Console) -> None:
        self._stages: list[dict[Candidate, list[Score]]] = []
        self._steps, self._began_at = 0, time.monotonic()
        super().__init__(console)

    def stage(self, stage: Stage) -> None:
        """These policies are measured now."""
        self._stages.append({candidate: [] for candidate in stage.candidates})
        times = f"{stage.rounds} search{'es' * (stage.rounds > 1)} of each"
        self.status(f"stage {len(self._stages)} of {len(STAGES)}: {len(stage.candidates)} policies, {times}")

    def begins(self, candidate: Candidate, rate_per_s: float, progress: Path) -> None:
        """A rate is measured."""
        self._steps += 1
        self._begin(_Current(progress=progress, candidate=candidate, rate_per_s=rate_per_s))

    def ended(self, candidate: Candidate, round_: int, score: Score) -> None:
        """A search has ended."""
        self._stages[-1][candidate].append(score)
        self._current = None
        self._log(f"stage {len(self._stages)}, search {round_ + 1}: {candidate.name}: {score_text([score])}")

    def swept(self, round_: int, remaining: int) -> None:
        """Each policy has been measured once more; so many searches have not ended."""
        if remaining:
            self._log(f"stage {len(self._stages)}, search {round_ + 1}: {self._steps} measurements, {remaining} go on")

    def frame(self) -> RenderableType:
        current, status = self._current, self._status
        if current:
            status += f"   {rate_text(current.rate_per_s)}: {current.counts_text}"
        passed = time.monotonic() - self._began_at
        line = Text(f"{status}   {self._steps} measurements, {passed / 60:.0f} min {passed % 60:02.0f} s", "dim")
        if not self._stages:
            return line
        return Group(stages_table(self._stages, current.candidate if current else None), Text(""), line)


def stages_table(
    stages: Sequence[Mapping[Candidate, Sequence[Score]]], now: Candidate | None = None, best: Candidate | None = None
) -> Table:
    """A row for each policy, a column for each stage; those that came furthest first."""
    table = plain_table()
    table.add_column("POLICY", overflow="fold")
    for name in STAGES[: len(stages)]:
        table.add_column(name, justify="right", no_wrap=True)
    for candidate in _ordered(stages):
        scores = [stage.get(candidate) for stage in stages]
        cells = ["" if each is None else score_text(each) if each else "…" for each in scores]
        style = "cyan" if candidate == now else "green" if candidate == best else ""
        table.add_row(Text(candidate.name), *map(Text, cells), style=style)
    return table


def score_text(scores: Sequence[Score]) -> str:
    """The rates of the searches: the middle, and in brackets how far they lie apart."""
    rates = spread([score.rate_per_s for score in scores])
    if not rates.high:
        return "nothing sustained" if all(score.kind == "none" for score in scores) else "not known"
    mark = "≥ " if any(score.kind == "at least" for score in scores) else ""
    rate = f"{mark}{rate_text(rates.median)}"
    return rate if rates.count == 1 else f"{rate} ({_plain(rates.low)} – {_plain(rates.high)})"


def _plain(rate_per_s: float) -> str:
    return rate_text(rate_per_s).removesuffix("/s")


def _ordered(stages: Sequence[Mapping[Candidate, Sequence[Score]]]) -> list[Candidate]:
    """Later stages first, and in each the higher rates; the policy that the model has at the top."""

    def rank(candidate: Candidate) -> tuple[bool, int, float]:
        last = max(place for place, stage in enumerate(stages) if candidate in stage)
        scores = stages[last][candidate]
        return candidate != OWN, -last, -spread([score.rate_per_s for score in scores]).median if scores else 0.0

    return sorted(dict.fromkeys(candidate for stage in stages for candidate in stage), key=rank)
