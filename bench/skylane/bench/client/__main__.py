"""Send load, and log every reply: `python -m skylane.bench.client --help`.

The log has a line for each request: start, status and duration in microseconds, status 200 for an answer and gRPC's own
for anything else. On stdout, as JSON: the bytes of all replies' bodies, how late it was against its schedule, what CPU
it used while it sent, when it began, and how many connections the server closed.
"""

import argparse
import gc
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from skylane.bench.client.access import TOKEN, Access
from skylane.bench.client.connections import Peer, Peers
from skylane.bench.client.http2 import new_traces
from skylane.bench.client.load import CONNECTIONS_MAX, GrpcLoad, Line, over_http
from skylane.bench.figures import percentile


def main(argv: Sequence[str] | None = None) -> int:
    """Send the load. Returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.connections > CONNECTIONS_MAX:
        parser.error(f"--connections: at most {CONNECTIONS_MAX}, which is as many as select(2) can wait for")
    gc.disable()  # nothing here refers to itself, and a collection makes requests late
    cpu_s = time.process_time()
    try:
        lines, summary = _over_grpc(options) if options.protocol == "grpc" else _over_http(options)
    except OSError as error:
        print(f"{options.address}: {error.strerror or error}", file=sys.stderr)
        return 1
    options.log_file.write_text("".join(f"{at}\t{status}\t{took}\n" for at, status, took in lines))
    print(json.dumps({"cpu_s": time.process_time() - cpu_s, **summary}))
    return 0


def _over_grpc(options: argparse.Namespace) -> tuple[list[Line], dict[str, float]]:
    """Returns the log, and what `main` prints."""
    context = Access(tls=options.tls, ca=options.tls_ca).context()
    traces = None if options.traced is None else new_traces(options.traced, random.Random(0))
    bodies, order = _bodies(options.body, options.body_sizes), np.load(options.order)
    connect = partial(
        Peer, options.address, options.path, options.timeout_s, os.environ.get(TOKEN, ""), context, traces
    )
    peers = Peers(connect, options.connections)
    progress = None if options.progress is None else np.memmap(options.progress, np.int64, "r+", shape=(3,))
    cpu_s = time.process_time()
    load = GrpcLoad(peers, bodies, order, progress)
    try:
        if options.schedule is not None:
            load.on_schedule(np.load(options.schedule), options.streams)
        else:
            load.closed(options.streams)
    finally:
        peers.end()
    cpu_s = time.process_time() - cpu_s
    late_us = percentile(load.late_us, 0.99) if len(load.late_us) else 0.0
    return load.lines(scheduled=options.schedule is not None), {
        "body_bytes": load.body_bytes,
        "late_us": late_us,
        "cpu_s": cpu_s,
        "lost": peers.lost,
        "began_at_s": load.began_at_us / 1e6,
    }


def _over_http(options: argparse.Namespace) -> tuple[list[Line], dict[str, float]]:
    body, requests = options.body.read_bytes(), len(np.load(options.order))
    began_at_s = time.time()
    lines, body_bytes = over_http(options.address, options.path, body, requests, options.connections * options.streams)
    return lines, {"body_bytes": body_bytes, "late_us": 0.0, "lost": 0, "began_at_s": began_at_s}


def _bodies(path: Path, sizes: Path) -> list[bytes]:
    content, ends = path.read_bytes(), np.cumsum(np.load(sizes)).tolist()
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.client", description="Send load, and log every reply."
    )
    add = parser.add_argument
    add("--address", required=True, help="host:port")
    add("--protocol", choices=("grpc", "http"), required=True)
    add("--path", required=True)
    add("--body", type=Path, required=True, help="file with the bodies of all requests, framed for gRPC")
    add("--body-sizes", type=Path, required=True, help="numpy file: bytes of each body")
    add("--order", type=Path, required=True, help="numpy file: for each request, which of the bodies")
    add(
        "--schedule",
        type=Path,
        help="numpy file: for each request, microseconds from the start until it is sent (gRPC)",
    )
    add("--progress", type=Path, help="file of three 64-bit numbers: requests sent, answered, ended otherwise (gRPC)")
    add("--timeout-s", type=float, help="deadline that is sent with each request (gRPC)")
    add("--traced", type=float, metavar="SHARE", help="each request has a new trace; this share is recorded (gRPC)")
    add("--tls", action="store_true", help="connect with TLS (gRPC); a bearer token comes from " + TOKEN)
    add("--tls-ca", type=Path, help="trust the certificates in this PEM file")
    add("--connections", type=int, required=True)
    add("--streams", type=int, required=True, help="requests in flight on each connection; on a schedule, at most")
    add("--log-file", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
