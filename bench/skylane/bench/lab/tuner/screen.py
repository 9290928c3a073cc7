"""What a person sees while policies race: a table of all of them on a terminal, a line for each search in a log. The
table of the end is the same."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.figures import spread
from skylane.bench.lab.screens import live
from skylane.bench.lab.screens.live import plain_table, rate_text
from skylane.bench.lab.tuner.policies import OWN, Candidate
from skylane.bench.lab.tuner.race import Heat, Score
from skylane.bench.sending import progress_of

HEATS: Final = ("FIRST", "SECOND", "LAST")


@dataclass
class _Now:
    candidate: Candidate
    round: int
    rate_per_s: float
    progress: Path
    began_at: float


class Silent(live.Silent):
    """Tells nothing."""

    def heat(self, heat: Heat) -> None:
        """These policies are measured now."""

    def begins(self, candidate: Candidate, round_: int, rate_per_s: float, progress: Path) -> None:
        """A rate is measured; see `skylane.bench.sending.progress_of` for the file."""

    def ended(self, candidate: Candidate, round_: int, score: Score) -> None:
        """A search has ended."""

    def swept(self, round_: int, going_on: int) -> None:
        """Each policy has been measured once more; so many searches go on."""


class Screen(live.Told, Silent):
    """Tells all of it."""

    def __init__(self, console: Console) -> None:
        self._heats: list[dict[Candidate, list[Score]]] = []
        self._now: _Now | None = None
        self._steps, self._began_at = 0, time.monotonic()
        super().__init__(console)

    def says(self, text: str) -> None:
        """See Silent."""
        self._now = None
        super().says(text)

    def heat(self, heat: Heat) -> None:
        """See Silent."""
        self._heats.append({candidate: [] for candidate in heat.candidates})
        times = f"{heat.rounds} search{'es' * (heat.rounds > 1)} of each"
        self.says(f"heat {len(self._heats)} of {len(HEATS)}: {len(heat.candidates)} policies, {times}")

    def begins(self, candidate: Candidate, round_: int, rate_per_s: float, progress: Path) -> None:
        """See Silent."""
        progress.unlink(missing_ok=True)
        self._steps += 1
        self._now = _Now(candidate, round_, rate_per_s, progress, time.monotonic())

    def ended(self, candidate: Candidate, round_: int, score: Score) -> None:
        """See Silent."""
        self._heats[-1][candidate].append(score)
        self._now = None
        self._log(f"heat {len(self._heats)}, search {round_ + 1}: {candidate.name}: {score_text([score])}")

    def swept(self, round_: int, going_on: int) -> None:
        """See Silent."""
        if going_on:
            self._log(f"heat {len(self._heats)}, search {round_ + 1}: {self._steps} measurements, {going_on} go on")

    def frame(self) -> RenderableType:
        """See live.Told."""
        now = self._now
        said = self._text
        if now:
            sent, answered, _ = progress_of(now.progress)
            said += f"   {rate_text(now.rate_per_s)}: {sent:,} sent, {answered:,} answered"
        passed = time.monotonic() - self._began_at
        told = Text(f"{said}   {self._steps} measurements, {passed / 60:.0f} min {passed % 60:02.0f} s", "dim")
        if not self._heats:
            return told
        return Group(heats_table(self._heats, now.candidate if now else None), Text(""), told)


def heats_table(
    heats: Sequence[Mapping[Candidate, Sequence[Score]]], now: Candidate | None = None, best: Candidate | None = None
) -> Table:
    """A row for each policy, a column for each heat; those that came furthest first."""
    table = plain_table()
    table.add_column("POLICY", overflow="fold")
    for name in HEATS[: len(heats)]:
        table.add_column(name, justify="right", no_wrap=True)
    for candidate in _ordered(heats):
        scores = [heat.get(candidate) for heat in heats]
        cells = ["" if found is None else score_text(found) if found else "…" for found in scores]
        style = "cyan" if candidate == now else "green" if candidate == best else ""
        table.add_row(Text(candidate.name), *map(Text, cells), style=style)
    return table


def score_text(scores: Sequence[Score]) -> str:
    """What the searches found: the middle, and in brackets how far they lie apart."""
    found = spread([score.rate_per_s for score in scores])
    if not found.high:
        return "nothing sustained" if all(score.kind == "none" for score in scores) else "not known"
    mark = "≥ " if any(score.kind == "at least" for score in scores) else ""
    rate = f"{mark}{rate_text(found.median)}"
    return rate if found.count == 1 else f"{rate} ({_plain(found.low)} – {_plain(found.high)})"


def _plain(rate_per_s: float) -> str:
    return rate_text(rate_per_s).removesuffix("/s")


def _ordered(heats: Sequence[Mapping[Candidate, Sequence[Score]]]) -> list[Candidate]:
    """Later heats first, and in each the higher rates; the policy that the model has at the top."""

    def rank(candidate: Candidate) -> tuple[bool, int, float]:
        last = max(place for place, heat in enumerate(heats) if candidate in heat)
        scores = heats[last][candidate]
        return candidate != OWN, -last, -spread([score.rate_per_s for score in scores]).median if scores else 0.0

    return sorted(dict.fromkeys(candidate for heat in heats for candidate in heat), key=rank)
