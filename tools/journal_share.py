"""Which share of a saturated server's CPU its journal takes. `python -m tools.journal_share --raw FILE` prints a table.

One server in this process answers one load without a pause, as fast as it can, and its journal is switched between the
modes every 0.2 s, in another order each time. So the modes differ in the journal alone: there is no second
process, and no pause after which a budget would be new. What is compared is the CPU time of all threads of the server
for a request; the load generator, h2load, is another process. A journal is flushed as often as in a server, counted in
the time in which it is switched on. The second "off" is a null comparison: its interval shows what can be resolved.
"""

import argparse
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from skylane.bench.servers import free_port
from skylane.bench.workload.models import read
from skylane.policy import Monitor
from skylane.server.__main__ import main as serve
from skylane.server.engine.recorder import Recorder
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.recording.journal import FLUSH_S, Journal
from skylane.server.recording.recorder import PredictionRecorder

LOADS: Final = ((8, 8), (64, 1), (1, 1))
"""Connections, and concurrent requests on each."""
OFF: Final = "off"
BUDGETS: Final = {OFF: None, "off, once more": None, "2,000 rows/s": 2000.0, "all rows": 1e9}
ROUND_S: Final = 0.2
ROUNDS_IN_SAMPLE: Final = max(1, round(FLUSH_S / ROUND_S))
"""A journal is flushed once in so many rounds, which are one sample."""
RESAMPLES: Final = 10_000
SHARE_MAX: Final = 0.01
METHOD: Final = "/skylane.v1.PredictionService/Predict"


class Mode:
    """The server with one setting of its journal."""

    def __init__(self, name: str, budget: float | None, served: ServedVersion, directory: Path) -> None:
        self.name = name
        self.cpu_s = list[float]()
        """CPU of each sample. So are the following."""
        self.flush_s = list[float]()
        self.calls = list[float]()
        self.rows = list[float]()
        self._served, self._left_at = served, 0.0
        self._journal: Journal | None = None
        self._recorder: Recorder | None = None
        if budget is not None:
            served.monitor = Monitor(journal=True, rows_per_second=budget, max_mb=256)
            self._journal = Journal(directory)
            interface = served.model.interface
            self._journal.follow(Routes({interface.model: ModelRoutes({interface.version: served}, interface.version)}))
            self._recorder, served.recorder = served.recorder, None

    def run(self, place: int) -> None:
        """One round of a sample."""
        if isinstance(self._recorder, PredictionRecorder):  # the time of the others did not pass for its budget
            self._recorder._sampler._began_at += time.monotonic() - self._left_at
        self._served.recorder = self._recorder
        cpu_s, flush_s, calls, rows = _cpu_s(), 0.0, self._served.statistics.succeeded, self._chosen()
        began_at = time.monotonic()
        if place == 0:
            time.sleep(ROUND_S / 2)
            if self._journal is not None:
                before = time.thread_time()
                self._journal.write()
                flush_s = time.thread_time() - before
        time.sleep(max(0.0, began_at + ROUND_S - time.monotonic()))
        used = (_cpu_s() - cpu_s, flush_s, self._served.statistics.succeeded - calls, self._chosen() - rows)
        self._served.recorder, self._left_at = None, time.monotonic()
        for values, value in zip(self.figures, used, strict=True):
            if place == 0:
                values.append(0)
            values[-1] += value

    @property
    def figures(self) -> Sequence[list[float]]:
        """All of them, of each sample."""
        return self.cpu_s, self.flush_s, self.calls, self.rows

    def _chosen(self) -> int:
        return self._recorder.counts()[1] if isinstance(self._recorder, PredictionRecorder) else 0


def _cpu_s() -> float:
    """CPU time of all threads of this process. Nanoseconds of the scheduler: other counts have a grain of 10 ms."""
    tasks = Path("/proc/self/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def measure(modes: Sequence[Mode], samples: int) -> None:
    """Run so many samples of each, after one that is not counted."""
    chance = random.Random(0)
    for number in range(samples + 1):
        for place in range(ROUNDS_IN_SAMPLE):
            for mode in chance.sample(modes, len(modes)):
                mode.run(place)
        if number == 0:
            for mode in modes:
                for values in mode.figures:
                    values.clear()


def compared(mode: Mode, base: Mode) -> dict[str, Any]:
    """The figures of a mode beside those of the first; chance has a fixed seed."""
    each = [cpu_s / calls * 1e6 for cpu_s, calls in zip(mode.cpu_s, mode.calls, strict=True)]
    bases = [cpu_s / calls * 1e6 for cpu_s, calls in zip(base.cpu_s, base.calls, strict=True)]
    paired, chance = [one / other for one, other in zip(each, bases, strict=True)], random.Random(0)
    medians = sorted(statistics.median(chance.choices(paired, k=len(paired))) for _ in range(RESAMPLES))
    low, high = medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
    seconds = ROUND_S * ROUNDS_IN_SAMPLE * len(each)
    return {
        "mode": mode.name,
        "cpu_us": round(statistics.median(each), 3),
        "ratio": round(statistics.median(paired), 4),
        "ratio_low": round(low, 4),
        "ratio_high": round(high, 4),
        "verdict": "holds" if high <= 1 + SHARE_MAX else "does not hold" if low > 1 + SHARE_MAX else "not resolved",
        "requests_per_second": round(sum(mode.calls) / seconds),
        "rows_per_second": round(sum(mode.rows) / seconds),
        "flush_share": round(sum(mode.flush_s) / sum(mode.cpu_s), 5),
        "samples_us": [round(value, 4) for value in each],
    }


class Measurement(threading.Thread):
    """Loads the server of this process, and stops it in the end."""

    def __init__(self, options: argparse.Namespace, port: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.results: list[dict[str, Any]] = []
        self._options, self._port, self._folder = options, port, folder

    def run(self) -> None:
        """Each load in turn."""
        try:
            while not (versions := [each for each in gc.get_objects() if isinstance(each, ServedVersion)]):
                time.sleep(0.1)
            time.sleep(1)  # it has just been loaded, and is not served yet
            for connections, streams in LOADS:
                self._under(f"{connections}x{streams}", connections, streams, versions[0])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _under(self, load: str, connections: int, streams: int, served: ServedVersion) -> None:
        body = self._folder / "request"
        body.write_bytes(read(self._options.models)[self._options.model].exchange("grpc", 1).body)
        shape = ["-c", str(connections), "-m", str(streams), "-D", "3600", "-d", str(body)]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        address = f"http://127.0.0.1:{self._port}{METHOD}"
        modes = [Mode(name, budget, served, self._folder / f"{load} {name}") for name, budget in BUDGETS.items()]
        with subprocess.Popen(["h2load", *shape, *headers, address], stdout=subprocess.DEVNULL) as generator:
            try:
                measure(modes, self._options.samples)
            finally:
                generator.terminate()
        for mode in modes:
            figures = {"load": load, **compared(mode, modes[0])}
            self.results.append(figures)
            print({name: value for name, value in figures.items() if name != "samples_us"}, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, measure, and write the raw figures. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.journal_share", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="diabetes", help="a small one, where overhead weighs most")
    parser.add_argument("--samples", type=int, default=60, help="of each mode, under each load")
    parser.add_argument("--raw", type=Path, help="file for all figures, as JSON")
    options = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        port = free_port()
        measurement = Measurement(options, port, Path(folder))
        measurement.start()
        code = serve(["--models", str(options.models), "--port", str(port), "--poll-s", "0", "--log-level", "error"])
    if options.raw:
        options.raw.write_text(json.dumps({"what": __doc__, "results": measurement.results}, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
