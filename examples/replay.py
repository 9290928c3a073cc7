"""Play March to December 2013 again: real flights are asked about when they were due, and labelled when they landed.

    python -m examples.replay --models models --journal journal

Trains a model on January and February, serves it with the journal on, asks about a few hundred flights a day, and
records each outcome with the instant at which it was known. Ten months take less than a minute. The clock is the
flights' own: the column due_at is the event's time. What `skylane monitor` says afterwards can be compared with what is
known of 2013, and with faults that are injected on purpose:

    python -m examples.replay --fault wind_speed_kmh@2013-07-01 --fault worse_model@2013-09-01
"""

import argparse
import heapq
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from rich.console import Console

from examples import replay_faults, replay_model
from examples.demo import ServerFailed
from examples.replay_faults import Fault
from examples.replay_model import NAME, Flights
from examples.replay_server import serving
from skylane.client import Client
from skylane.convert import ConversionError
from skylane.convert.console import PLAIN_WIDTH

FIRST: Final = pd.Timestamp("2013-03-01", tz="UTC")
LAST: Final = pd.Timestamp("2014-01-01", tz="UTC")
FLIGHTS_A_DAY: Final = 200
STEP: Final = pd.Timedelta(hours=1)
"""Flights due within a step are one request; the label of each is recorded at the end of a step after it landed."""
OUTCOMES_EVERY: Final = 6
"""Steps between two recordings of outcomes. When an outcome was known does not depend on it."""
PUBLISHED_S_MAX: Final = 60.0


@dataclass
class Replayed:
    """What a replay did."""

    flights: int = 0
    requests: int = 0
    outcomes: int = 0
    took_s: float = 0.0


@dataclass
class _Pending:
    """Flights in the air: (landed, prediction id, row, label)."""

    waiting: list[tuple[pd.Timestamp, str, int, str]] = field(default_factory=list)

    def add(self, flights: Flights, labels: "pd.Series[float]", prediction_id: str) -> None:
        for row, (landed, late) in enumerate(zip(flights.landed_at, labels, strict=True)):
            heapq.heappush(self.waiting, (landed, prediction_id, row, str(int(late))))

    def landed(self, now: pd.Timestamp) -> list[tuple[pd.Timestamp, str, int, str]]:
        """Those that have landed by now, in the order in which they did."""
        found = []
        while self.waiting and self.waiting[0][0] <= now:
            found.append(heapq.heappop(self.waiting))
        return found


def sampled(flights: Flights, a_day: int, seed: int) -> Flights:
    """At most so many flights of each UTC day, chosen at random."""
    random = np.random.default_rng(seed)
    order = pd.Series(random.permutation(len(flights.late)))
    rank = order.groupby(flights.due_at.dt.floor("D").to_numpy()).rank(method="first")
    return flights.where((rank <= a_day).to_numpy())


def replay(client: Client, flights: Flights, faults: Sequence[Fault], publish: "Publish") -> Replayed:
    """Ask about all flights in the order in which they were due, and record the outcomes of those that landed."""
    done, pending, started_at = Replayed(), _Pending(), time.monotonic()
    steps = flights.due_at.dt.floor(STEP)
    labels = replay_faults.labels(faults, pd.Series(flights.late, dtype=float), flights.due_at)
    bounds = np.flatnonzero(np.r_[True, steps.to_numpy()[1:] != steps.to_numpy()[:-1], True])
    for number, (start, end) in enumerate(pairwise(bounds.tolist())):
        now = steps.iloc[start] + STEP
        publish.due(now)
        part = flights.part(start, end)
        rows = replay_faults.apply(faults, part.rows, steps.iloc[start]).drop(columns=replay_model.MONTH)
        answer = client.predict(NAME, rows)
        if not answer.prediction_id:
            raise ServerFailed(
                f"the server does not record predictions of {NAME}: start it with --journal DIR, and set "
                f"journal = true under [monitor] in {NAME}/model.toml"
            )
        pending.add(part, labels.iloc[start:end], answer.prediction_id)
        done.flights += end - start
        done.requests += 1
        if number % OUTCOMES_EVERY == OUTCOMES_EVERY - 1:
            done.outcomes += record(client, pending.landed(now))
    done.outcomes += record(client, pending.landed(pd.Timestamp.max.tz_localize("UTC")))
    done.took_s = time.monotonic() - started_at
    return done


def record(client: Client, landed: Sequence[tuple[pd.Timestamp, str, int, str]]) -> int:
    """Record outcomes. Returns how many."""
    if landed:
        times = [at.to_pydatetime() for at, *_ in landed]
        client.record_outcomes(
            NAME,
            [name for _, name, _, _ in landed],
            rows=[row for _, _, row, _ in landed],
            labels=[label for *_, label in landed],
            happened_at=times,
            known_at=times,
        )
    return len(landed)


class Publish:
    """Publishes the versions that faults ask for, each on its day, and waits until the server answers with it."""

    def __init__(self, client: Client, flights: Flights, models: Path, faults: Sequence[Fault], trees: int) -> None:
        self._client, self._flights, self._models, self._trees = client, flights, models, trees
        self._coming = sorted(
            (fault for fault in faults if fault.kind in replay_faults.MODELS), key=lambda each: each.since
        )

    def due(self, now: pd.Timestamp) -> None:
        """Publish what is due by now."""
        while self._coming and self._coming[0].since <= now:
            kind = self._coming.pop(0).kind
            published = replay_model.publish_trained(self._flights, self._models, fault=kind, trees=self._trees)
            deadline = time.monotonic() + PUBLISHED_S_MAX
            while self._client.model(NAME).version != published.version:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"the server does not serve version {published.version}; its log says why")
                time.sleep(0.2)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay. Returns the exit code."""
    options = _parser().parse_args(argv)
    out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    try:
        flights = replay_model.load()
        if not list((options.models / NAME).glob("[0-9]*/manifest.json")):
            out.print(f"training {NAME} on January and February 2013")
            replay_model.publish_trained(flights, options.models, trees=options.trees)
        chosen = sampled(flights.between(options.first, options.last), options.flights_a_day, options.seed)
        out.print(f"replaying {len(chosen.late):,} flights, {options.first:%Y-%m-%d} to {options.last:%Y-%m-%d}")
        for fault in options.fault:
            out.print(f"with the fault {fault}")
        with serving(options.models, options.journal, options.address) as address, Client(address) as client:
            publish = Publish(client, flights, options.models, options.fault, options.trees)
            done = replay(client, chosen, options.fault, publish)
        out.print(
            f"{done.flights:,} flights in {done.requests:,} requests, and {done.outcomes:,} outcomes, in "
            f"{done.took_s:.0f} s; next:"
        )
        out.print(f"  skylane monitor --journal {options.journal} --models {options.models} --once", soft_wrap=True)
    except (ConversionError, ServerFailed) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.replay",
        description=(__doc__ or "").split("\n")[0],
        epilog=f"faults: {', '.join(replay_faults.KINDS)}",
    )
    add = parser.add_argument
    add("--models", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
    add("--journal", type=Path, default=Path("journal"), help="of the server that is started (default: %(default)s)")
    add("--address", metavar="HOST:PORT", help="a server that runs already (default: start one)")
    add("--first", type=_day, default=FIRST, metavar="DATE", help="first day (default: 2013-03-01)")
    add("--last", type=_day, default=LAST, metavar="DATE", help="day after the last (default: 2014-01-01)")
    add("--flights-a-day", type=int, default=FLIGHTS_A_DAY, metavar="N", help="at most (default: %(default)s)")
    add("--fault", type=_fault, action="append", default=[], metavar="KIND@DATE", help="what goes wrong; repeatable")
    add("--trees", type=int, default=replay_model.TREES, help="trees of the model (default: %(default)s)")
    add("--seed", type=int, default=0, help="chooses the flights (default: %(default)s)")
    return parser


def _day(text: str) -> pd.Timestamp:
    try:
        return pd.Timestamp(date.fromisoformat(text), tz="UTC")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a date as 2013-07-01, received {text!r}") from error


def _fault(text: str) -> Fault:
    try:
        return replay_faults.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
