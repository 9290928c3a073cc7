"""The command `skylane monitor`: turns journals and outcomes into figures, and serves the page."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from skylane.journal import JournalError
from skylane.monitor.http import LOOPBACK, MonitorServer
from skylane.monitor.instants import instant_us
from skylane.monitor.monitor import Monitor, Pass
from skylane.monitor.progress import Progress
from skylane.monitor.state import State, StateUnusable
from skylane.monitor.view import ModelView
from skylane.monitor.views import views_of

INTERVAL_S: Final = 30.0
REST: Final = 3.0
"""After a pass, the monitor rests at least so many times as long as it took: it uses a quarter of a core at most."""
STATE: Final = Path("monitor.sqlite")
MODELS: Final = Path("models")

EPILOG: Final = """\
The figures are read with `skylane performance MODEL` and `skylane drift MODEL`, on
the page at --port, from /metrics (Prometheus) and from /api/models (JSON).

examples:
  skylane monitor --journal journal --once        one pass, for cron
  skylane monitor --journal journal --port 8600   until Ctrl-C, with the page
  skylane monitor --journal server1 --journal server2 --port 8600
  skylane monitor report --html report.html       the page as one file
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code: 0 success, 1 a pass failed, 2 usage error."""
    options = _parser().parse_args(argv)
    missing = [path for path in (*options.journal, options.models) if not path.is_dir()]
    if missing:
        return _failed(f"{missing[0]}: no such directory", 2)
    if options.port is not None and options.host not in LOOPBACK:
        print(
            "skylane monitor: the page has no tokens: everyone who reaches this port sees the figures", file=sys.stderr
        )
    try:
        with State(options.state) as state:
            monitor = Monitor(state, options.journal, options.models)
            now = _now if options.at is None else lambda: int(options.at)
            if options.once:
                return _once(monitor, now())
            return _follow(monitor, state, options, now)
    except (StateUnusable, JournalError, OSError) as error:
        return _failed(str(error), 2 if isinstance(error, StateUnusable) else 1)


def _once(monitor: Monitor, now: int) -> int:
    """One pass, which may take minutes: with progress on stderr."""
    progress = Progress(sys.stderr)
    try:
        done = monitor.run(now, progress)
    finally:
        progress.end()
    _tell(done)
    return 0


def _follow(monitor: Monitor, state: State, options: argparse.Namespace, now: Callable[[], int]) -> int:
    """Pass after pass, until a signal ends it between two of them."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    views: list[ModelView] = []
    server = None
    if options.port is not None:
        server = MonitorServer((options.host, options.port), lambda: tuple(views))
        threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
        print(f"skylane monitor: the page is at {server.url}", flush=True)
    try:
        while not stopped.is_set():
            started_at = time.monotonic()
            try:
                _tell(monitor.run(now()))
            except (JournalError, OSError) as error:  # a disk that is full or away: the next pass goes on
                print(f"skylane monitor: {error}", file=sys.stderr, flush=True)
            views[:] = views_of(state, options.models, now())
            took = time.monotonic() - started_at
            stopped.wait(max(options.interval - took, REST * took))
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
    return 0


def _now() -> int:
    return time.time_ns() // 1000


def _tell(done: Pass) -> None:
    """A line for a pass that found something."""
    if done.rows or done.blocks or done.reports:
        print(
            f"skylane monitor: {done.rows:,} new rows, {done.blocks} blocks computed, {done.reports} reported "
            f"({', '.join(done.models)})",
            flush=True,
        )
    for model, problem in done.problems.items():
        print(f"skylane monitor: {model}: {problem}", file=sys.stderr)


def _failed(reason: str, code: int) -> int:
    print(f"skylane monitor: {reason}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane monitor",
        description="Compute performance and drift of models from the journal and the outcomes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--journal", metavar="DIR", type=Path, action="append", required=True,
        help="the directory that `skylane serve --journal` writes; repeat it for several servers",
    )  # fmt: skip
    parser.add_argument(
        "--models", metavar="DIR", type=Path, default=MODELS, help="model repository (default: %(default)s)"
    )
    parser.add_argument("--state", metavar="FILE", type=Path, default=STATE, help="SQLite file (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="do one pass and exit")
    parser.add_argument("--at", metavar="TIME", type=_instant, help="compute as known at this instant (default: now)")
    parser.add_argument(
        "--interval",
        metavar="S",
        type=_seconds,
        default=INTERVAL_S,
        help="seconds between passes (default: %(default)s)",
    )
    parser.add_argument("--port", metavar="N", type=int, help="serve the page, JSON and metrics on this port; 0: any")
    parser.add_argument("--host", default=LOOPBACK[0], help="address of the page (default: %(default)s)")
    return parser


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 86_400:
        raise argparse.ArgumentTypeError(f"expected more than 0 and less than 86400 seconds, received {text}")
    return number


_seconds.__name__ = "number"  # argparse names the type in its message


def _instant(text: str) -> int:
    try:
        return instant_us(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
