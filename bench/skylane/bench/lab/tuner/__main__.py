"""`skylane bench tune`: policies race against the one that a model has, and the best becomes its model.toml."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.bench.lab.knee.search import Goal
from skylane.bench.lab.knee.stand import model_directory
from skylane.bench.lab.options import add_asked, add_goal, add_out, add_repository, guarded, make, number, positive
from skylane.bench.lab.requests.questions import Unsuitable
from skylane.bench.lab.screens.live import console
from skylane.bench.lab.tuner import record
from skylane.bench.lab.tuner.outcome import said, tuned, write
from skylane.bench.lab.tuner.play import Race, play
from skylane.bench.lab.tuner.policies import KEYS, OWN, singles
from skylane.bench.lab.tuner.race import LAST_ROUNDS, Heat, Result, next_heat
from skylane.bench.lab.tuner.record import Tuning
from skylane.bench.lab.tuner.screen import Screen, Silent, heats_table
from skylane.bench.lab.tuner.toml import difference
from skylane.bench.machine import commit, libraries, machine
from skylane.bench.stopping import sigterm_interrupts

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


@sigterm_interrupts()
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
    """Race, save, print. Raises what `skylane.bench.lab.options.guarded` tells."""
    path = model_directory(options.models, options.model) / "model.toml"
    before = path.read_text("utf-8") if path.exists() else ""
    policy = _decoded(before, path)
    make(options.out)
    started, began_at, on = datetime.now(UTC), time.monotonic(), machine()
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, votes=1, steps_max=options.steps
    )
    candidates = singles(policy, options.target_p99_ms, on.cores, repeats=options.data is not None)
    allowed = [candidate for candidate in candidates if candidate.changes[0].key in options.keys]
    if not allowed:
        raise Unsuitable(f"--keys {' '.join(options.keys)}: nothing else to try; enabled and max_mb need --data FILE")
    screen = Silent() if options.format == "json" else Screen(console(sys.stderr))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, screen:
        race = Race(options, before, Path(folder), stack)
        while isinstance(heat := next_heat(allowed, race.heats), Heat):
            play(heat, race, goal, screen)
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


def _decoded(content: str, path: Path) -> policies.Policy:
    try:
        return policies.decode(content.encode())
    except policies.BadPolicy as error:
        raise Unsuitable(f"{path}: {error}") from error


def _save(tuning: Tuning, out: Path) -> Path:
    path = out / f"tune-{tuning.model}-{datetime.fromisoformat(tuning.started_at):%Y%m%d-%H%M%S}.json"
    try:
        record.save(tuning, path)
        if tuning.after_toml is not None:
            path.with_suffix(".toml").write_text(tuning.after_toml, "utf-8")
    except OSError as error:
        raise Unsuitable(f"--out {out}: {error.strerror or error}") from error
    return path


def _tell(tuning: Tuning, race: Race, result: Result, path: Path, saved: Path, form: str) -> None:
    if form == "json":
        print(saved.read_text(), end="")
        return
    out = console()
    out.print(heats_table(race.heats, best=result.best))

    def tell(text: str) -> None:
        out.print(text, highlight=False, markup=False, soft_wrap=True)

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
