"""Times the candidates. Their runs are interleaved, so that a busy moment of the machine affects all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from skylane.convert.inspection.schema import Array

Run = Callable[[Mapping[str, Array]], object]
Rows = Mapping[str, Array]

CLOCK: Final = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter
"""A run stays on its thread, so the thread's CPU time is what it takes on an idle machine. By the wall clock with both
cores busy, int8 came out anywhere from 1.6 times faster to 2.8 times slower. Windows counts CPU time too coarsely."""

SIZES: Final = (1, 64, 1024)
ROUNDS: Final = 15
BLOCK_S: Final = 0.002
"""A block of runs takes about this long: far above the clock's resolution, far below a scheduler's time slice."""

SIZE_S_MAX: Final = 4.0
"""About how long timing one batch size may take for all candidates together; slow graphs get fewer rounds."""

ROUNDS_MIN: Final = 3

CALIBRATION_RUNS: Final = 5
"""Runs of which the fastest determines how many fill a block. With one run, an interruption led to blocks of one."""


def latencies(
    candidates: Sequence[tuple[Run, Rows]],
    sizes: Sequence[int] = SIZES,
    clock: Callable[[], float] = CLOCK,
) -> list[dict[str, float]]:
    """For each candidate: rows of a batch → median microseconds of CPU time of one run, over the faster rounds.

    Batches rotate through the rows: repeating one row would train the branch predictor, and make a forest appear 2.2
    times faster than it is (measured).
    """
    medians_us: list[dict[str, float]] = [{} for _ in candidates]
    for size in sizes:
        batches = [_batches(rows, size) for _, rows in candidates]
        one_s = [_one_run(run, pool, clock) for (run, _), pool in zip(candidates, batches, strict=True)]
        runs = [max(1, min(500, round(BLOCK_S / max(took_s, 1e-7)))) for took_s in one_s]
        # Each block begins with an additional run, which is not timed.
        round_s = sum(took_s * (count + 1) for took_s, count in zip(one_s, runs, strict=True))
        rounds = max(ROUNDS_MIN, min(ROUNDS, int(SIZE_S_MAX / max(round_s, 1e-7))))
        blocks: list[list[float]] = [[] for _ in candidates]
        for turn in range(rounds):
            for step in range(len(candidates)):
                # Rotated, so that no candidate always runs after the same other one, whose data fill the cache.
                index = (turn + step) % len(candidates)
                blocks[index].append(_block(candidates[index][0], batches[index], runs[index], turn, clock))
        # Other load on the machine affects a whole round, and only ever slows it down.
        quiet = sorted(range(rounds), key=lambda turn: sum(times[turn] for times in blocks))[: rounds // 2 + 1]
        for index, times in enumerate(blocks):
            medians_us[index][str(size)] = round(statistics.median(times[turn] for turn in quiet) * 1e6, 2)
    return medians_us


def _batches(rows: Rows, size: int) -> list[dict[str, Array]]:
    available = len(next(iter(rows.values())))
    count = max(1, min(256, available // size))
    return [
        {name: np.ascontiguousarray(np.take(array, range(i * size, (i + 1) * size), axis=0, mode="wrap"))
         for name, array in rows.items()}
        for i in range(count)
    ]  # fmt: skip


def _one_run(run: Run, pool: Sequence[Rows], clock: Callable[[], float]) -> float:
    """About how long one run takes, in seconds."""
    run(pool[0])
    best_s = math.inf
    for batch in pool[-CALIBRATION_RUNS:]:
        started_at = clock()
        run(batch)
        best_s = min(best_s, clock() - started_at)
        if best_s > SIZE_S_MAX / ROUNDS:
            break  # slow enough that a single run is accurate
    return best_s


def _block(run: Run, pool: Sequence[Rows], runs: int, turn: int, clock: Callable[[], float]) -> float:
    start = turn * runs
    chosen = [pool[(start + step) % len(pool)] for step in range(runs)]
    run(chosen[0])  # untimed: the cache still holds the other candidates' weights
    started_at = clock()
    for batch in chosen:
        run(batch)
    return (clock() - started_at) / runs
