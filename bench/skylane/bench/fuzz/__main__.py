"""Plays rounds of all targets in turn until the time is over. The exit code is 1 if anything was found.

examples:
  python -m skylane.bench.fuzz --minutes 60
  python -m skylane.bench.fuzz --only hpack --seed 12345 --rounds 1    repeats one round
"""

import argparse
import contextlib
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from skylane.bench.fuzz import connection, crosstalk, engine, hpack, templates
from skylane.bench.fuzz.target import REAL, SIMULATED, Play, Target
from skylane.bench.host.interrupts import sigterm_interrupts

TARGETS: Final[dict[str, Target]] = {
    module.TARGET.name: module.TARGET for module in (engine, hpack, connection, templates, crosstalk)
}
FAILURES_MAX: Final = 10
"""Of one target; then it is played no more."""
TURN_S: Final = 2.0
"""How long one target plays before the next has its turn."""
PROGRESS_S: Final = 60.0


@dataclass
class Outcome:
    """What came of one target."""

    target: Target
    rounds: int = 0
    calls: int = 0
    failures: list[str] = field(default_factory=list)

    def play(self, play: Play, seed: int) -> None:
        """Play one round, and keep what went wrong with the command that repeats it."""
        self.rounds += 1
        try:
            self.calls += play(seed)
        except Exception as error:  # whatever is raised is a fault that was found; it is kept and printed
            command = f"python -m skylane.bench.fuzz --only {self.target.name} --seed {seed} --rounds 1"
            self.failures.append(f"{self.target.name}: {type(error).__name__}: {error}\n  repeat: {command}")
            print(self.failures[-1], flush=True)


def fuzz(names: Sequence[str], seed: int, *, minutes: float = 0.0, rounds: int | None = None) -> list[Outcome]:
    """Play so many rounds of each target, or all in turn until the time is over. Round n has the seed `seed + n`."""
    outcomes = [Outcome(TARGETS[name]) for name in names]
    logging.disable(logging.CRITICAL)  # the simulated models fail on purpose
    try:
        with contextlib.ExitStack() as stack:
            plays = [stack.enter_context(outcome.target.opened()) for outcome in outcomes]
            if rounds is None:
                _play_until(time.monotonic() + minutes * 60, outcomes, plays, seed)
            for outcome, play in zip(outcomes, plays, strict=True):
                for number in range(rounds or 0):
                    outcome.play(play, seed + number)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        logging.disable(logging.NOTSET)
    return outcomes


def _play_until(ends_at: float, outcomes: Sequence[Outcome], plays: Sequence[Play], seed: int) -> None:
    shown_at = time.monotonic()
    while time.monotonic() < ends_at:
        for outcome, play in zip(outcomes, plays, strict=True):
            turn_ends_at = min(time.monotonic() + TURN_S, ends_at)
            while time.monotonic() < turn_ends_at and len(outcome.failures) < FAILURES_MAX:
                outcome.play(play, seed + outcome.rounds)
        if all(len(outcome.failures) >= FAILURES_MAX for outcome in outcomes):
            return
        if time.monotonic() - shown_at > PROGRESS_S:
            shown_at = time.monotonic()
            print(", ".join(f"{outcome.target.name}: {outcome.calls:,} calls" for outcome in outcomes), flush=True)


def report(outcomes: Sequence[Outcome]) -> str:
    """A line for each target, and the calls in all."""
    lines = [
        f"{outcome.target.name:10} {outcome.rounds:>9,} rounds  {outcome.calls:>12,} {outcome.target.calls} calls  "
        f"{len(outcome.failures)} failures"
        for outcome in outcomes
    ]
    calls = Counter[str]()
    for outcome in outcomes:
        calls[outcome.target.calls] += outcome.calls
    return "\n".join([*lines, f"in all: {calls[SIMULATED]:,} simulated calls, {calls[REAL]:,} real calls"])


@sigterm_interrupts()
def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print what was found, and return 1 if anything was."""
    described = "\n".join(f"  {target.name:10} {target.description}" for target in TARGETS.values())
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.fuzz",
        description=__doc__,
        epilog=f"targets:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="of each target, instead of a time")
    parser.add_argument("--seed", type=int, help="of the first round; round n has SEED + n (default: random)")
    parser.add_argument("--only", choices=TARGETS, action="append", help="one target; may be given again")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**40) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    outcomes = fuzz(options.only or list(TARGETS), seed, minutes=options.minutes, rounds=options.rounds)
    print(report(outcomes))
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
