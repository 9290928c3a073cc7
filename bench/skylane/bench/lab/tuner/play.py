"""Servers that run, one for each policy, and the heats that are measured on them."""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skylane.bench.lab.knee.search import Goal, Step, Verdict, next_rate
from skylane.bench.lab.knee.stand import Asked, Stand, served
from skylane.bench.lab.tuner.policies import OWN, Candidate
from skylane.bench.lab.tuner.race import Heat, Score
from skylane.bench.lab.tuner.record import Tried
from skylane.bench.lab.tuner.screen import Silent
from skylane.bench.lab.tuner.toml import changed


@dataclass
class Race:
    """Servers that run, and what was measured so far."""

    options: argparse.Namespace
    before: str
    """The model.toml that there is."""
    folder: Path
    stack: contextlib.ExitStack
    """Ends all servers."""
    heats: list[dict[Candidate, list[Score]]] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    stands: dict[Candidate, Stand] = field(default_factory=dict)
    servers: dict[Candidate, contextlib.ExitStack] = field(default_factory=dict)

    def ready(self, candidates: Sequence[Candidate]) -> None:
        """Have a server for each of them, and none for others. Raises what `skylane.bench.lab.options.guarded`
        tells.
        """
        for dropped in self.stands.keys() - set(candidates):
            self.servers[dropped].close()
            del self.stands[dropped]
        asked = Asked(model=self.options.model, rows=self.options.rows, data=self.options.data)
        for candidate in candidates:
            if candidate not in self.stands:
                content = changed(self.before, candidate.changes, "") if candidate.changes else self.before
                server = self.servers[candidate] = self.stack.enter_context(contextlib.ExitStack())
                where = server.enter_context(served(self.options.models, self.options.model, content, self.folder))
                alone = self.stands[OWN].alone if OWN in self.stands else None
                self.stands[candidate] = Stand(where, asked, self.folder, alone)


def play(heat: Heat, race: Race, goal: Goal, screen: Silent) -> None:
    """Measure all policies of a heat, one rate of each in turn. Raises what `skylane.bench.lab.options.guarded`
    tells.
    """
    screen.heat(heat)
    scores: dict[Candidate, list[Score]] = {candidate: [] for candidate in heat.candidates}
    race.heats.append(scores)
    race.ready(heat.candidates)
    goals = dict[Candidate, Goal]()
    for candidate, start in zip(heat.candidates, heat.starts_per_s, strict=True):
        within = race.stands[candidate].goal(replace(goal, precision=heat.precision, growth=heat.growth))
        goals[candidate] = replace(within, start_per_s=start or within.start_per_s)
    for round_ in range(heat.rounds):
        found = _search(race, goals, race.options.seconds * heat.lengthened, round_, screen)
        for candidate, (verdict, steps) in found.items():
            score = score_of(verdict)
            scores[candidate].append(score)
            race.tried.append(
                Tried(
                    heat=len(race.heats), round=round_ + 1, policy=candidate.name,
                    changes={f"{change.section}.{change.key}": change.value for change in candidate.changes},
                    score=score, steps=tuple(steps),
                )
            )  # fmt: skip


def _search(
    race: Race, goals: Mapping[Candidate, Goal], seconds: float, round_: int, screen: Silent
) -> dict[Candidate, tuple[Verdict, list[Step]]]:
    """One search of each, all at the same time: nobody always follows the same neighbour."""
    steps: dict[Candidate, list[Step]] = {candidate: [] for candidate in goals}
    found: dict[Candidate, tuple[Verdict, list[Step]]] = {}
    order = list(goals)
    while len(found) < len(goals):
        order = [*order[1:], order[0]]
        for candidate in [each for each in order if each not in found]:
            asked = next_rate(steps[candidate], goals[candidate])
            if isinstance(asked, Verdict):
                found[candidate] = (asked, steps[candidate])
                screen.ended(candidate, round_, score_of(asked))
                continue
            screen.begins(candidate, round_, asked, progress := race.folder / "progress")
            step = race.stands[candidate].step(asked, goals[candidate], seconds, progress)
            steps[candidate].append(step)
        screen.swept(round_, len(goals) - len(found))
    return found


def score_of(verdict: Verdict) -> Score:
    """What a race needs of a verdict."""
    ceiling = verdict.kind == "at least" and verdict.above_per_s is None
    return Score(kind=verdict.kind, rate_per_s=verdict.rate_per_s or 0.0, ceiling=ceiling)
