"""`skylane top`: a server's figures in a terminal, as its live page shows them in a browser."""

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

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skylane.cli.live import (
    Snapshot,
    Window,
    between,
    bytes_text,
    cores,
    count_text,
    share_text,
    time_text,
)

URL: Final = "http://127.0.0.1:8501"
RECENT_S: Final = 10.0
"""What the figures are of."""
EVENTS_SHOWN: Final = 6

EPILOG: Final = f"""\
The figures are of the last {RECENT_S:.0f} seconds. Ctrl-C ends it.

examples:
  skylane top
  skylane top --url http://10.0.0.7:8501 --once
  SKYLANE_TOKEN=... skylane top --url https://models.internal --tls-ca ca.pem
"""


class Unreachable(Exception):
    """There is nothing to show; the message says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Show until interrupted, or once. Returns the exit code."""
    options = _parser().parse_args(argv)
    console = Console()
    try:
        with contextlib.closing(snapshots(options.url, options.token, options.tls_ca)) as coming:
            if options.once:
                first = next(coming)
                console.print(frame([first, next(coming)], options.url))
                return 0
            recent = deque([next(coming)])
            with Live(frame(recent, options.url), console=console, screen=True, auto_refresh=False) as live:
                for snapshot in coming:
                    recent.append(snapshot)
                    while recent[-1]["at"] - recent[0]["at"] > RECENT_S + 0.5:
                        recent.popleft()
                    live.update(frame(recent, options.url), refresh=True)
    except Unreachable as error:
        print(f"skylane top: {error}", file=sys.stderr)
        return 1
    except StopIteration:
        print(f"skylane top: {options.url} has ended", file=sys.stderr)
        return 1
    return 0


def snapshots(url: str, token: str = "", tls_ca: str | None = None) -> Generator[Snapshot, None, None]:
    """The server's figures, every other second, until it ends. Raises Unreachable."""
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
        raise Unreachable(_told(error, url)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"nothing answers at {url} ({reason}): start a server with `skylane serve --http-port 8501`, "
            "or name another with --url or SKYLANE_URL"
        ) from error


def _told(error: urllib.error.HTTPError, url: str) -> str:
    if error.code in (401, 403):
        return f"{url} asks for a token that allows metrics: give it with --token or SKYLANE_TOKEN"
    return f"{url} answers {error.code}: is this the HTTP port of a Skylane server?"


def frame(recent: Sequence[Snapshot], url: str) -> RenderableType:
    """What is shown: what happened between the first and the last of these."""
    now, before = recent[-1], recent[0]
    ready = Text("ready", "green") if now["ready"] else Text("not ready", "bold red")
    head = Text.assemble(("Skylane", "bold"), f" {now['build']['version']} at {url}  ", ready)
    events = [_event(event) for event in now["figures"]["events"][-EVENTS_SHOWN:]]
    return Group(
        head,
        _totals(now, before),
        _versions(now, before),
        Panel(Group(*events) if events else Text("nothing yet", "dim"), title="events", title_align="left"),
    )


def _totals(now: Snapshot, before: Snapshot) -> Table:
    window, processes = between(now, before), now["figures"]["processes"]
    table = Table.grid(padding=(0, 3))
    names = ("requests/s", "p50", "p99", "errors", "waiting", "cores", "memory", "processes")
    table.add_row(*(Text(name, "dim") for name in names))
    table.add_row(
        count_text(window.rate), time_text(window.percentile(0.5)), time_text(window.percentile(0.99)),
        _errors(window), count_text(window.waiting), count_text(round(cores(now, before), 2)),
        bytes_text(sum(each["resident_bytes"] for each in processes)), str(len(processes)),
    )  # fmt: skip
    return table


def _versions(now: Snapshot, before: Snapshot) -> Table:
    table = Table(expand=True, header_style="dim", box=None)
    table.add_column("MODEL", no_wrap=True)
    table.add_column("STATE")
    for name in ("REQ/S", "P50", "P99", "ROWS/BATCH", "WAITING", "CACHE", "ERRORS"):
        table.add_column(name, justify="right", no_wrap=True)
    for version in now["figures"]["versions"]:
        if not version["states"]:
            continue
        window = between(now, before, version["model"], version["version"])
        failed = "failed" in version["states"]
        table.add_row(
            Text(f"{version['model']}/{version['version']}"),
            Text(", ".join(version["states"]), "red" if failed else "green" if "ready" in version["states"] else ""),
            count_text(window.rate), time_text(window.percentile(0.5)), time_text(window.percentile(0.99)),
            count_text(window.batch_rows), count_text(window.waiting), share_text(window.saved_share), _errors(window),
        )  # fmt: skip
    return table


def _errors(window: Window) -> Text:
    return Text(share_text(window.error_share), "red" if window.errors else "")


def _event(event: Snapshot) -> Text:
    at = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    style = "" if event["level"] == "info" else "red"
    return Text.assemble((f"{at} ", "dim"), (event["text"], style), overflow="ellipsis", no_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane top",
        description="Show what a server does, as it does it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    environment = os.environ.get
    parser.add_argument(
        "--url", default=environment("SKYLANE_URL", URL), help=f"its HTTP port (default: {URL}, or SKYLANE_URL)"
    )
    parser.add_argument(
        "--token", default=environment("SKYLANE_TOKEN", ""), help="a bearer token (default: SKYLANE_TOKEN)"
    )
    parser.add_argument("--tls-ca", metavar="FILE", help="trust the certificates in this PEM file")
    parser.add_argument("--once", action="store_true", help="print the figures of two seconds, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
