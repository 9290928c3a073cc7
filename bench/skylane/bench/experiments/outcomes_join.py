"""How long outcomes take to record, read, resolve and join to predictions.

    python -m skylane.bench.experiments.outcomes_join --rows 1000000 --rounds 7

The outcomes come in random order. By id: one for each row of calls with 8 rows. By entity and time: one for each of
50,000 entities at its own times. Times are those of the wall clock and of the processor, all threads together.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane import outcomes
from skylane.journal.id_columns import id_column
from skylane.outcomes.recorded import RecordedOutcomes
from skylane.outcomes.schema import SUBMISSION, TIME

WRITER: Final = "9f2c1a7be04d5538"
ROWS_EACH: Final = 8
ENTITIES: Final = 50_000
HAPPENED_AT: Final = 1_372_636_800_000_000
"""1 July 2013, in microseconds since 1970."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.experiments.outcomes_join", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="predictions, and outcomes (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions (default: 7)")
    options = parser.parse_args(argv)
    for kind, made in (("by id and row", _by_id), ("by entity and time", _by_entity)):
        print(f"{options.rows} outcomes onto {options.rows} predictions, {kind}, {options.rounds} rounds")
        predictions, submission = made(options.rows)
        _measure(predictions, submission, options.rounds)
    return 0


def _measure(predictions: Any, submission: Any, rounds: int) -> None:
    times: dict[str, list[tuple[float, float]]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        done = work()
        times.setdefault(step, []).append((time.perf_counter() - wall, time.process_time() - cpu))
        return done

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            store = outcomes.OutcomeStore(directory, recorded=RecordedOutcomes(10_000_000, float("inf")))
            given = outcomes.Submission("flights", "airline", submission, {})
            timed("record", partial(store.record, [given]))
            store.close()
            log = timed("read", partial(outcomes.read_log, directory, "flights"))
        resolved = timed("resolve", partial(outcomes.resolve, log))
        joined = timed("join", partial(outcomes.join, predictions, resolved.table))
        assert joined.counts.labelled == joined.counts.matched == len(predictions)
    for step, measured in times.items():
        wall, cpu = zip(*measured, strict=True)
        print(
            f"  {step:8} median {statistics.median(wall):5.2f} s, {min(wall):5.2f} to {max(wall):5.2f} s; "
            f"processor {statistics.median(cpu):5.2f} s"
        )


def _by_id(rows: int) -> tuple[Any, Any]:
    ids = id_column(WRITER, np.arange(rows) // ROWS_EACH + 1)
    places = pa.array(np.arange(rows) % ROWS_EACH, pa.uint32())
    none = {"entity": pa.nulls(rows, pa.string()), "event_at": pa.nulls(rows, TIME)}
    predictions = pa.table({"prediction_id": ids, "row": places, **none, "happened_at": _times(rows)})
    return predictions, _submission(rows, {"prediction_id": ids, "row": places})


def _by_entity(rows: int) -> tuple[Any, Any]:
    entities = pa.array([f"N{number}" for number in range(ENTITIES)]).take(pa.array(np.arange(rows) % ENTITIES))
    events = pa.array(HAPPENED_AT + np.arange(rows) // ENTITIES * 3_600_000_000).cast(TIME)
    key = {"entity": entities, "event_at": events}
    ids = id_column(WRITER, np.arange(rows) + 1)
    first = {"prediction_id": ids, "row": pa.array(np.zeros(rows), pa.uint32())}
    return pa.table(first | key | {"happened_at": _times(rows)}), _submission(rows, key)


def _submission(rows: int, key: dict[str, Any]) -> Any:
    """The outcomes in random order."""
    rng = np.random.default_rng(0)
    order = pa.array(rng.permutation(rows))
    label = pa.array(["0", "1"]).take(pa.array(rng.integers(0, 2, rows)))
    given = key | {"label": label, "known_at": _times(rows)}
    columns = [given.get(field.name, pa.nulls(rows, field.type)) for field in SUBMISSION]
    return pa.table(columns, schema=SUBMISSION).take(order)


def _times(rows: int) -> Any:
    return pa.array(np.full(rows, HAPPENED_AT)).cast(TIME)


if __name__ == "__main__":
    sys.exit(main())
