"""Servers that run, one for each policy, and the stages that are measured on them."""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skylane.bench.lab.capacity.rig import RequestSpec, Rig, served
from skylane.bench.lab.capacity.search import Goal, Step, Verdict, next_rate
from skylane.bench.lab.measure.rounds import turned
from skylane.bench.lab.tune.model_toml import changed
from skylane.bench.lab.tune.policies import OWN, Candidate
from skylane.bench.lab.tune.record import Trial
from skylane.bench.lab.tune.screen import TuneScreen
from skylane.bench.lab.tune.search import Score, Stage


@dataclass
class Trials:
    """Servers that run, and what was measured so far."""

    options: argparse.Namespace
    before: str
    """The model.toml that there is."""
    folder: Path
    stack: contextlib.ExitStack
    """Ends all servers."""
    stages: list[dict[Candidate, list[Score]]] = field(default_factory=list)
    records: list[Trial] = field(default_factory=list)
    rigs: dict[Candidate, Rig] = field(default_factory=dict)
    servers: dict[Candidate, contextlib.ExitStack] = field(default_factory=dict)

    def ready(self, candidates: Sequence[Candidate]) -> None:
        """Have a server for each of them, and none for others. Raises what `skylane.bench.lab.commands.run_command`
        reports.
        """
        for dropped in self.rigs.keys() - set(candidates):
            self.servers[dropped].close()
            del self.rigs[dropped]
        spec = RequestSpec(model=self.options.model, rows=self.options.rows, data=self.options.data)
        for candidate in candidates:
            if candidate not in self.rigs:
                content = changed(self.before, candidate.changes, "") if candidate.changes else self.before
                server = self.servers[candidate] = self.stack.enter_context(contextlib.ExitStack())
                where = server.enter_context(served(self.options.models, self.options.model, content, self.folder))
                alone = self.rigs[OWN].alone if OWN in self.rigs else None
                self.rigs[candidate] = Rig(where, spec, self.folder, alone)


def run_stage(stage: Stage, trials: Trials, goal: Goal, screen: TuneScreen) -> None:
    """Measure all policies of a stage, one rate of each in turn. Raises what `run_command` reports."""
    screen.stage(stage)
    scores: dict[Candidate, list[Score]] = {candidate: [] for candidate in stage.candidates}
    trials.stages.append(scores)
    trials.ready(stage.candidates)
    goals = dict[Candidate, Goal]()
    for candidate, start in zip(stage.candidates, stage.starts_per_s, strict=True):
        within = trials.rigs[candidate].goal(replace(goal, precision=stage.precision, growth=stage.growth))
        goals[candidate] = replace(within, start_per_s=start or within.start_per_s)
    for round_ in range(stage.rounds):
        ended = _search(trials, goals, trials.options.seconds * stage.lengthened, round_, screen)
        for candidate, (verdict, steps) in ended.items():
            score = score_of(verdict)
            scores[candidate].append(score)
            trials.records.append(
                Trial(
                    stage=len(trials.stages), round=round_ + 1, policy=candidate.name,
                    changes={f"{change.section}.{change.key}": change.value for change in candidate.changes},
                    score=score, steps=tuple(steps),
                )
            )  # fmt: skip


def _search(
    trials: Trials, goals: Mapping[Candidate, Goal], seconds: float, round_: int, screen: TuneScreen
) -> dict[Candidate, tuple[Verdict, list[Step]]]:
    """One search of each policy, side by side: none is always measured after the same other."""
    steps: dict[Candidate, list[Step]] = {candidate: [] for candidate in goals}
    ended: dict[Candidate, tuple[Verdict, list[Step]]] = {}
    sweep = 0
    while len(ended) < len(goals):
        sweep += 1
        for candidate in [each for each in turned(goals, sweep) if each not in ended]:
            rate = next_rate(steps[candidate], goals[candidate])
            if isinstance(rate, Verdict):
                ended[candidate] = (rate, steps[candidate])
                screen.ended(candidate, round_, score_of(rate))
                continue
            screen.begins(candidate, rate, progress := trials.folder / "progress")
            step = trials.rigs[candidate].step(rate, goals[candidate], seconds, progress)
            steps[candidate].append(step)
        screen.swept(round_, len(goals) - len(ended))
    return ended


def score_of(verdict: Verdict) -> Score:
    """What is kept of a verdict."""
    ceiling = verdict.kind == "at least" and verdict.above_per_s is None
    return Score(kind=verdict.kind, rate_per_s=verdict.rate_per_s or 0.0, ceiling=ceiling)
