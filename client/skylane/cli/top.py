"""The command `skylane top`: shows the live metrics of a server in a terminal."""

import argparse
import contextlib
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Generator, Sequence
from typing import Final

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skylane.cli.live import Snapshot, between, bytes_text, cores, count_text, share_text, time_text

URL: Final = "http://127.0.0.1:8501"
RECENT_S: Final = 10.0
"""Interval of the figures, in seconds."""
EVENTS_MIN: Final = 3
"""Events that are shown even if the terminal is too small."""
FIGURES: Final = {
    0: ("REQ/S", "P99", "ERRORS"),
    76: ("REQ/S", "P50", "P99", "ROWS/BATCH", "WAIT", "CACHE", "ERRORS"),
    96: ("REQ/S", "P50", "P99", "ROWS/BATCH", "WAIT", "CACHE", "ERRORS", "MEMORY"),
}
"""Minimum width of the terminal → the figures that are shown of each version."""
TOTAL_WIDTH: Final = 10
"""Width of a figure in the totals."""

EPILOG: Final = f"""\
The figures cover the last {RECENT_S:.0f} seconds. Press Ctrl-C to quit. They are read
from the server's HTTP port: `skylane serve --http-port 8501`.

examples:
  skylane top
  skylane top --url http://10.0.0.7:8501 --once
  SKYLANE_TOKEN=... skylane top --url https://models.internal --tls-ca ca.pem
"""


class Unreachable(Exception):
    """The server's metrics cannot be read; the message gives the reason and the remedy."""


def main(argv: Sequence[str] | None = None) -> int:
    """Show the metrics until interrupted, or once. Returns the exit code: 0 success, 1 unreachable, 2 usage error."""
    options = _parser().parse_args(argv)
    console = Console()
    if not options.once and not console.is_terminal:
        print(
            "skylane top: the output is not a terminal; use --once to print the figures of the next two seconds",
            file=sys.stderr,
        )
        return 2
    try:
        with contextlib.closing(snapshots(options.url, options.token, options.tls_ca)) as coming:
            if options.once:
                first = next(coming)
                console.print(frame([first, next(coming)], options.url, console.size))
                return 0
            recent = deque([next(coming)])
            with Live(
                frame(recent, options.url, console.size), console=console, screen=True, auto_refresh=False
            ) as live:
                for snapshot in coming:
                    recent.append(snapshot)
                    while recent[-1]["at"] - recent[0]["at"] > RECENT_S + 0.5:
                        recent.popleft()
                    live.update(frame(recent, options.url, console.size), refresh=True)
    except Unreachable as error:
        print(f"skylane top: {error}", file=sys.stderr)
        return 1
    except StopIteration:  # the connection ended before the second snapshot
        pass
    print(f"skylane top: the server at {options.url} closed the connection", file=sys.stderr)
    return 1


def snapshots(url: str, token: str = "", tls_ca: str | None = None) -> Generator[Snapshot, None, None]:
    """The server's metrics, every two seconds, until the connection ends. Raises Unreachable."""
    url = url if "://" in url else f"http://{url}"
    request = urllib.request.Request(f"{url.rstrip('/')}/live/events")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        tls = ssl.create_default_context(cafile=tls_ca) if url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
    except urllib.error.HTTPError as error:
        raise Unreachable(_error_text(error, url)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"cannot connect to {url} ({reason}): start a server with `skylane serve --http-port 8501`, "
            "or set another URL with --url or SKYLANE_URL"
        ) from error


def _error_text(error: urllib.error.HTTPError, url: str) -> str:
    if error.code in (401, 403):
        return f"{url} requires a token with access to metrics: pass it with --token or SKYLANE_TOKEN"
    return f"{url} returned status {error.code}: is this the HTTP port of a Skylane server?"


def frame(recent: Sequence[Snapshot], url: str, size: ConsoleDimensions) -> RenderableType:
    """The screen for a terminal of this size, with the figures between the first and the last snapshot."""
    now, before = recent[-1], recent[0]
    ready = Text("ready", "green") if now["ready"] else Text("not ready", "bold red")
    workers = len(now["figures"]["processes"])
    several = f", {workers} workers" if workers != 1 else ""
    head = Text.assemble(("Skylane", "bold"), f" {now['build']['version']} at {url}  ", ready, several)
    refused = [_refused(version) for version in now["figures"]["versions"] if version["reason"]]
    totals, versions = _totals(now, before, size.width), _versions(now, before, size.width)
    used = 1 + totals.row_count + 1 + versions.row_count + len(refused) + 2  # titles, and the border of the events
    events = [_event(event) for event in now["figures"]["events"][-max(EVENTS_MIN, size.height - used - 1) :]]
    return Group(
        head,
        totals,
        versions,
        *refused,
        Panel(Group(*events) if events else Text("none yet", "dim"), title="events", title_align="left"),
    )


def _totals(now: Snapshot, before: Snapshot, width: int) -> Table:
    window = between(now, before)
    figures: list[tuple[str, str | Text]] = [
        ("req/s", count_text(window.rate)), ("p50", time_text(window.percentile(0.5))),
        ("p99", time_text(window.percentile(0.99))), ("errors", _share(window.error_share, window.errors)),
        ("faults", _share(window.fault_share, window.faults)), ("waiting", count_text(window.waiting)),
        ("cores", count_text(round(cores(now, before), 2))),
        ("memory", bytes_text(sum(each["resident_bytes"] for each in now["figures"]["processes"]))),
    ]  # fmt: skip
    table = Table.grid(padding=(0, 2))
    each_row = max(1, min(len(figures), width // TOTAL_WIDTH))
    for start in range(0, len(figures), each_row):
        part = figures[start : start + each_row]
        table.add_row(*(Text(name, "dim", no_wrap=True) for name, _ in part))
        table.add_row(*(value for _, value in part))
    return table


def _versions(now: Snapshot, before: Snapshot, width: int) -> Table:
    """One row for each version, with as many figures as fit the width."""
    table = Table(expand=True, header_style="dim", box=None, padding=(0, 1, 0, 0))
    table.add_column("MODEL", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("STATE", no_wrap=True)
    names = FIGURES[max(each for each in FIGURES if each <= width)]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    several = len(now["figures"]["processes"]) > 1
    for version in now["figures"]["versions"]:
        if not version["states"]:
            continue
        window = between(now, before, version["model"], version["version"])
        values: dict[str, str | Text] = {
            "REQ/S": count_text(window.rate), "P50": time_text(window.percentile(0.5)),
            "P99": time_text(window.percentile(0.99)), "ROWS/BATCH": count_text(window.batch_rows),
            "WAIT": count_text(window.waiting), "CACHE": share_text(window.saved_share),
            "ERRORS": _share(window.error_share, window.errors),
            "MEMORY": bytes_text(size) if (size := version.get("memory_bytes")) else "–",
        }  # fmt: skip
        shown: list[str | Text] = [values[name] for name in names]
        states = [f"{state} × {count}" if several else state for state, count in version["states"].items()]
        style = "red" if "failed" in version["states"] else "green" if "ready" in version["states"] else ""
        table.add_row(
            Text(f"{version['model']}/{version['version']}"),
            Text(", ".join(states), style),
            *shown,
        )
    return table


def _refused(version: Snapshot) -> Text:
    """Why a version is not served."""
    line = f"{version['model']}/{version['version']}: {version['reason']}"
    return Text(line, "red", overflow="ellipsis", no_wrap=True)


def _share(share: float | None, count: int) -> Text:
    return Text(share_text(share), "red" if count else "")


def _event(event: Snapshot) -> Text:
    at = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    style = "" if event["level"] == "info" else "red"
    return Text.assemble((f"{at} ", "dim"), (event["text"], style), overflow="ellipsis", no_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane top",
        description="Show the live metrics of a running server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    environment = os.environ.get
    parser.add_argument(
        "--url",
        default=environment("SKYLANE_URL", URL),
        help=f"the server's HTTP port (default: {URL}, or SKYLANE_URL)",
    )
    parser.add_argument(
        "--token", default=environment("SKYLANE_TOKEN", ""), help="a bearer token (default: SKYLANE_TOKEN)"
    )
    parser.add_argument("--tls-ca", metavar="FILE", help="trust the certificates in this PEM file")
    parser.add_argument("--once", action="store_true", help="print the figures of the next two seconds and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
