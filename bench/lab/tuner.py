"""`skylane bench tune`: policies race against the one that a model has, and the best becomes its model.toml."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.figures import Spread
from bench.lab import tuner_record
from bench.lab.knee import LOG_WIDTH, add_asked, add_goal, add_out, add_repository, guarded
from bench.lab.knee_screen import rate_text
from bench.lab.knee_search import Goal, Step, Verdict, next_rate
from bench.lab.knee_stand import Asked, Stand, model_directory, served
from bench.lab.lines import number, positive
from bench.lab.questions import Unsuitable
from bench.lab.tuner_policies import KEYS, OWN, Candidate, Value, singles, value_of
from bench.lab.tuner_race import GENERATOR, LAST_ROUNDS, Heat, Result, Score, next_heat
from bench.lab.tuner_record import Tried, Tuning
from bench.lab.tuner_screen import Screen, Silent, heats_table
from bench.lab.tuner_toml import changed, difference
from bench.machine import commit, libraries, machine
from skylane import policy as policies

EPILOG: Final = """\
Each policy is served by a server of its own, from a copy of the model; they
are measured in turn, one rate at a time, so that what disturbs the machine
disturbs all of them. First all, with one key changed in each; then the better
ones and combinations; at last the best two beside what you have, from nothing
measured before. What does not win every search is not called better, and then
model.toml stays as it is. Published versions are not touched.

examples:
  skylane bench tune --model flights_late --target-p99-ms 20
  skylane bench tune --model flights_late --target-p99-ms 20 --write
  skylane bench tune --model flights_late --target-p99-ms 20 --data asked.csv
"""


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
        """Have a server for each of them, and none for others. Raises what `bench.lab.knee.guarded` tells."""
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


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and tell. Returns the exit code: 0 done, 1 not measured, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="skylane bench tune",
        description="Find the model.toml under which a model sustains the highest rate that keeps a target.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return guarded("tune", run, parser.parse_args(argv))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add = parser.add_argument_group("what is tuned").add_argument
    add_repository(add)
    add("--model", required=True, metavar="NAME", help="model that is tuned")
    add(
        "--keys",
        nargs="+",
        choices=KEYS,
        default=KEYS,
        metavar="KEY",
        help=f"of model.toml that may be changed (default: all of {', '.join(KEYS)}; the last two, the cache's, with "
        "--data only)",
    )
    add_asked(parser.add_argument_group("what is asked").add_argument)
    add = parser.add_argument_group("what it is tuned for").add_argument
    add_goal(add)
    add("--seconds", type=number, default=1.0, metavar="S", help="of each measurement, at least (default: 1)")
    add("--steps", type=positive, default=20, metavar="N", help="measurements at most, for each search (default: 20)")
    add = parser.add_argument_group("what comes of it").add_argument
    add("--write", action="store_true", help="change model.toml, if something is better (default: show the change)")
    add_out(add)
    parser.set_defaults(address=None)


def run(options: argparse.Namespace) -> int:
    """Race, save, print. Raises what `bench.lab.knee.guarded` tells."""
    path = model_directory(options.models, options.model) / "model.toml"
    before = path.read_text("utf-8") if path.exists() else ""
    policy = _decoded(before, path)
    started, began_at, on = datetime.now(UTC), time.monotonic(), machine()
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, votes=1, steps_max=options.steps
    )
    candidates = singles(policy, options.target_p99_ms, on.cores, repeats=options.data is not None)
    allowed = [candidate for candidate in candidates if candidate.changes[0].key in options.keys]
    if not allowed:
        raise Unsuitable(f"--keys {' '.join(options.keys)}: nothing else to try; enabled and max_mb need --data FILE")
    console = Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH)
    screen = Silent() if options.format == "json" else Screen(console)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, screen:
        race = Race(options, before, Path(folder), stack)
        while isinstance(heat := next_heat(allowed, race.heats), Heat):
            _play(heat, race, goal, screen)
        result, stand = heat, race.stands[OWN]
    conditions = f"{LAST_ROUNDS} searches of each, in turn, on {on.cores} cores of {on.cpu}, {started:%Y-%m-%d}."
    told = said(result, options.target_p99_ms)
    after = tuned(before, result, policy, f"{told} {conditions}")
    written = after is not None and options.write
    if after is not None and options.write:
        write(after, path)
    tuning = Tuning(
        started_at=started.isoformat(timespec="seconds"), took_s=round(time.monotonic() - began_at, 1),
        commit=commit(), machine=on, libraries=libraries(), model=options.model, version=stand.model.version,
        rows=options.rows, asked=stand.said, alone_per_s=stand.alone.requests_per_s,
        settings={
            "target_p99_ms": options.target_p99_ms, "lost_percent_max": options.lost, "seconds": options.seconds,
            "steps_max": options.steps, "last_rounds": LAST_ROUNDS,
        },
        said=told, before_toml=before, after_toml=after, written=written, tried=tuple(race.tried),
    )  # fmt: skip
    _tell(tuning, race, result, path, _save(tuning, options.out), options.format)
    return 0


def _play(heat: Heat, race: Race, goal: Goal, screen: Silent) -> None:
    """Measure all policies of a heat, one rate of each in turn. Raises what `bench.lab.knee.guarded` tells."""
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


def said(result: Result, target_p99_ms: float) -> str:
    """The result in a sentence or two."""
    kept = f"with a p99 of at most {target_p99_ms:g} ms"
    if result.best is not None and result.rates is not None:
        better, ratio = f"{result.best.name}: {_range(result.rates)} {kept}", result.ratio
        if ratio is None:
            return f"{better}, where no rate was kept before."
        times = f"{ratio.median:.2f} × as much ({ratio.low:.2f} to {ratio.high:.2f} in searches side by side)"
        return f"{better}, where it was {_range(result.own)} before: {times}."
    at_least = "at least " if result.why == GENERATOR else ""
    told = f"Keep what you have: {at_least}{_range(result.own)} {kept}; {result.why}."
    if result.runner is None or result.rates is None:
        return told
    return f"{told} The best of the others, {result.runner.name}, came to {_range(result.rates)}."


def _range(found: Spread) -> str:
    if not found.high:
        return "no rate"
    rate = rate_text(found.median)
    return rate if found.count == 1 else f"{rate} ({rate_text(found.low)} to {rate_text(found.high)})"


def tuned(before: str, result: Result, policy: policies.Policy, evidence: str) -> str | None:
    """model.toml as it would be better, with the evidence; None if nothing is better."""
    if result.best is None:
        return None
    was = ", ".join(f"{change.key} was {_shown(value_of(policy, change))}" for change in result.best.changes)
    after = changed(before, result.best.changes, f"{evidence} Before, {was}.")
    policies.decode(after.encode())
    return after


def _shown(value: Value | None) -> str:
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _decoded(content: str, path: Path) -> policies.Policy:
    try:
        return policies.decode(content.encode())
    except policies.BadPolicy as error:
        raise Unsuitable(f"{path}: {error}") from error


def write(content: str, path: Path) -> None:
    """At once, or not at all: a server may be reading it."""
    beside = path.with_name(f".{path.name}.tuned")
    try:
        beside.write_text(content, "utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise Unsuitable(f"--write: {path}: {error.strerror or error}") from error


def _save(tuning: Tuning, out: Path) -> Path:
    path = out / f"tune-{tuning.model}-{datetime.fromisoformat(tuning.started_at):%Y%m%d-%H%M%S}.json"
    try:
        tuner_record.save(tuning, path)
        if tuning.after_toml is not None:
            path.with_suffix(".toml").write_text(tuning.after_toml, "utf-8")
    except OSError as error:
        raise Unsuitable(f"--out {out}: {error.strerror or error}") from error
    return path


def _tell(tuning: Tuning, race: Race, result: Result, path: Path, saved: Path, form: str) -> None:
    if form == "json":
        print(saved.read_text(), end="")
        return
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(heats_table(race.heats, best=result.best))

    def tell(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    tell(f"\n{tuning.said}\n")
    if tuning.after_toml is not None:
        tell(difference(tuning.before_toml, tuning.after_toml, str(path)))
        if tuning.written:
            tell(f"{path} was written. Comments of yours stand as they did: see whether they still hold.")
        else:
            tell(f"Nothing was changed: --write does that, or copy {saved.with_suffix('.toml')}.")
    tell(f"evidence: {saved}")


if __name__ == "__main__":
    sys.exit(main())
