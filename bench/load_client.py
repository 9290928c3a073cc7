"""A load generator in Python, for machines without h2load: `python -m bench.load_client --help`.

asyncio and grpcio for gRPC, a thread per request in flight for HTTP/1.1. Its output is what `bench.generator` reads: a
log of (start, status, duration) in microseconds, and on stdout the bytes of all replies' bodies.
"""

import argparse
import asyncio
import http.client
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc

from bench.payloads import framed

OK: Final = 200
Line = tuple[int, int, int]
Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class Budget:
    """Counts down the requests that are still to be sent."""

    def __init__(self, requests: int) -> None:
        self._left, self._lock = requests, threading.Lock()

    def take(self) -> bool:
        """Whether one more may be sent."""
        with self._lock:
            self._left -= 1
            return self._left >= 0


async def over_grpc(options: argparse.Namespace, message: bytes) -> tuple[list[Line], int]:
    """Send all; a failed call ends the program. Returns the log and the bytes of the replies."""
    budget, lines, body_bytes = Budget(options.requests), list[Line](), 0

    async def send(call: Call) -> None:
        nonlocal body_bytes
        while budget.take():
            at, started = time.time_ns() // 1000, time.perf_counter_ns()
            reply = await call(message)
            lines.append((at, OK, (time.perf_counter_ns() - started) // 1000))
            body_bytes += len(framed(reply))

    local = [("grpc.use_local_subchannel_pool", 1)]  # or all channels would share one connection
    channels = [grpc.aio.insecure_channel(options.address, local) for _ in range(options.connections)]
    try:
        calls: list[Call] = [channel.unary_unary(options.path) for channel in channels]
        await asyncio.gather(*(send(call) for call in calls for _ in range(options.streams)))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))
    return lines, body_bytes


def over_http(options: argparse.Namespace, body: bytes) -> tuple[list[Line], int]:
    """Send all, by one thread and connection for each request in flight."""
    budget, lines, sizes, failed = Budget(options.requests), list[Line](), list[int](), list[Exception]()

    def send() -> None:
        connection = http.client.HTTPConnection(options.address, timeout=30)
        try:
            while not failed and budget.take():
                at, started = time.time_ns() // 1000, time.perf_counter_ns()
                connection.request("POST", options.path, body, {"content-type": "application/json"})
                response = connection.getresponse()
                sizes.append(len(response.read()))
                lines.append((at, response.status, (time.perf_counter_ns() - started) // 1000))
        except (OSError, http.client.HTTPException) as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(options.connections * options.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return lines, sum(sizes)


def main(argv: Sequence[str] | None = None) -> int:
    """Send the load. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.load_client", description=__doc__)
    parser.add_argument("--address", required=True, help="host:port")
    parser.add_argument("--protocol", choices=("grpc", "http"), required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", type=Path, required=True, help="file with the request's body, framed for gRPC")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True, help="requests in flight on each connection")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--log-file", type=Path, required=True)
    options = parser.parse_args(argv)
    body = options.body.read_bytes()
    if options.protocol == "grpc":
        lines, body_bytes = asyncio.run(over_grpc(options, body[5:]))
    else:
        lines, body_bytes = over_http(options, body)
    options.log_file.write_text("".join(f"{at}\t{status}\t{took}\n" for at, status, took in lines))
    print(body_bytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
