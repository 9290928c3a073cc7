"""The main job while you watch: train on real flights, convert, publish, serve, call, and compare with scikit-learn.

    python -m examples.demo

At the end the server is left running until Ctrl-C, with the commands to call it next; without a terminal, or with
--leave, it is stopped, and the command to start it is printed.
"""

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import skops.io
from rich.console import Console
from rich.table import Table

from examples import flight_rows, flights
from skylane.client import Client, Prediction
from skylane.convert import ConversionError
from skylane.convert.console import PLAIN_WIDTH

PORT: Final = 8500
QUESTIONS: Final = 5
TIMED_CALLS: Final = 300
START_S_MAX: Final = 60.0

Array = np.ndarray[Any, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Do the main job. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
    parser.add_argument("--demo", type=Path, default=Path(".demo"), help="for pipeline and rows (default: %(default)s)")
    parser.add_argument("--leave", action="store_true", help="stop the server at the end, and say how to start it")
    arguments = parser.parse_args(argv)
    out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    stay = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.leave
    try:
        out.rule("1. Train on real flights, convert, publish", align="left")
        flights.run(arguments.models, arguments.demo)
        out.rule("2. Serve", align="left")
        with serving(arguments.models) as (server, address):
            out.print(f"a server of its own process answers on {address}\n")
            out.rule("3. Call, and compare with scikit-learn's own answer", align="left")
            ask(address, arguments.demo, out)
            out.rule("4. Your turn", align="left")
            # Not broken at the terminal's width: whoever copies half a command runs it.
            out.print(next_steps(address, arguments.models, arguments.demo, running=stay), soft_wrap=True)
            if stay:
                server.wait()
    except (ConversionError, ServerFailed) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class ServerFailed(Exception):
    """The server did not start; its own words say why."""


@contextlib.contextmanager
def serving(models: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run the server as anyone would, and stop it at the end. Gives its process and address."""
    port = PORT if _is_free(PORT) else _free_port()
    command = [sys.executable, "-P", "-m", "skylane.server", "--models", str(models), "--port", str(port)]
    with subprocess.Popen(command) as server:
        try:
            address = f"127.0.0.1:{port}"
            _wait_until_ready(address, server)
            yield server, address
        finally:
            server.terminate()


def _wait_until_ready(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S_MAX
    with Client(address, timeout_s=1.0) as client:
        while not client.ready(flights.NAME):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed("the server did not become ready; the lines above say why")
            time.sleep(0.1)


def ask(address: str, demo: Path, out: Console) -> None:
    """Ask about a few later flights, show each answer beside scikit-learn's, and time a single row."""
    rows = flight_rows.example_rows(QUESTIONS)
    folder = demo / flights.NAME
    rows.to_csv(folder / "questions.csv", index=False)
    pipeline = skops.io.load(
        folder / "pipeline.skops", trusted=skops.io.get_untrusted_types(file=folder / "pipeline.skops")
    )
    with Client(address) as client:
        answer = client.predict(flights.NAME, rows)
        truth = pipeline.predict_proba(rows)
        out.print(compared(rows, answer, truth))
        worst = float(np.abs(answer.probabilities - truth).max())
        same = int((answer.label == pipeline.predict(rows)).sum())
        out.print(
            f"answered by version {answer.version}: largest difference {worst:.1e}, {same} of {len(rows)} labels equal"
        )
        tell_times(client, pipeline, rows[:1], out)


def compared(rows: pd.DataFrame, answer: Prediction, truth: Array) -> Table:
    """A line for each flight."""
    table = Table(box=None, header_style="bold")
    for heading in ("flight", "departs", "wind gust", "P(late) by Skylane", "by scikit-learn"):
        table.add_column(heading, justify="left" if heading in ("flight", "departs") else "right")
    for (_, row), ours, theirs in zip(rows.iterrows(), answer.probabilities, truth, strict=True):
        minute = int(row["dep_minute_of_day"])
        table.add_row(
            f"{row['carrier']} {row['origin']} → {row['dest']}, {int(row['distance'])} miles",
            f"month {int(row['month']):2}, {minute // 60:02}:{minute % 60:02}",
            "missing" if pd.isna(row["wind_gust"]) else f"{row['wind_gust']:.0f} mph",
            f"{ours[1]:.6f}",
            f"{theirs[1]:.6f}",
        )
    return table


def tell_times(client: Client, pipeline: Any, row: pd.DataFrame, out: Console) -> None:
    """Median milliseconds of one row: over the network and back, and by scikit-learn in this process."""
    ours, theirs = [], []
    for number in range(TIMED_CALLS):
        asked = row.assign(distance=row["distance"] + number)  # another row each time, so that no answer is kept
        started_at = time.perf_counter()
        client.predict(flights.NAME, asked)
        ours.append(time.perf_counter() - started_at)
        if number < TIMED_CALLS // 10:
            started_at = time.perf_counter()
            pipeline.predict_proba(asked)
            theirs.append(time.perf_counter() - started_at)
    out.print(
        f"one row, median of {len(ours)} calls: {statistics.median(ours) * 1e3:.2f} ms through client and server, "
        f"{statistics.median(theirs) * 1e3:.2f} ms by scikit-learn in process (of {len(theirs)})\n"
    )


def next_steps(address: str, models: Path, demo: Path, *, running: bool) -> str:
    """The exact commands to go on with."""
    skylane = Path(sys.executable).with_name("skylane")
    command = skylane.relative_to(Path.cwd()) if skylane.is_relative_to(Path.cwd()) else skylane
    questions = demo / flights.NAME / "questions.csv"
    start = f"{command} serve --models {models} --port {address.rsplit(':', 1)[1]}"
    running_now = "The server goes on until Ctrl-C. In another terminal:"
    first = running_now if running else f"Start the server again with\n\n  {start}\n\nand, in another terminal:"
    return f"""\
{first}

  {command} models {flights.NAME} --address {address}
  {command} predict {flights.NAME} --csv {questions} --address {address}

or in Python:

  import pandas as pd
  from skylane.client import Client
  with Client("{address}") as client:
      print(client.predict("{flights.NAME}", pd.read_csv("{questions}")).probabilities)
"""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
