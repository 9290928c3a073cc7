"""What traces cost: a server of an earlier commit, this one without traces, with them and none recorded, and with 1 %.

    git worktree add ../before <commit>
    python -m skylane.bench.tracing_cost --models models --model diabetes --before ../before

See bench/side_by_side.py. Callers send no trace (h2load), or another `traceparent` with every request, as gRPC's C core
writes it, of which none or 1 % is recorded (a client of our own, since h2load sends the same bytes again and again).
Spans go to a collector in a process of its own, which reads none of them.
"""

import argparse
import contextlib
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import grpc

from skylane.bench.generator import GeneratorFailed, H2load, Load
from skylane.bench.http2 import Connection
from skylane.bench.payloads import Exchange
from skylane.bench.side_by_side import LOADS, Contestant, Send, compare, exchange_of, running, without_cache
from skylane.bench.stopping import sigterm_interrupts
from skylane.server.grpc.http2.response_headers import field

SHARE: Final = 0.01
EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATIENCE_S: Final = 30.0


class Caller(Connection):
    """A connection on which every request belongs to a trace of its own."""

    def __init__(self, address: str, path: str, sampled: float, chance: random.Random) -> None:
        """`sampled`: the share of requests whose parent is recorded."""
        super().__init__(address, path)
        self._plain_head, self._sampled, self._chance = self._head, sampled, chance
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, body: bytes) -> None:
        """One request."""
        draw = self._chance
        parent = b"00-%032x-%016x-%02x" % (draw.getrandbits(128), draw.getrandbits(64), draw.random() < self._sampled)
        self._head = self._plain_head + field("traceparent", parent)
        self.send(0, body)

    def flush(self) -> None:
        """Write all that there is; it is little."""
        self.socket.sendall(self.out)
        self.out.clear()


def traced_calls(exchange: Exchange, sampled: float) -> Send:
    """Sends requests with a trace; see side_by_side."""

    def send(address: str, load: Load, requests: int) -> float:
        callers = [Caller(address, exchange.path, sampled, random.Random(n)) for n in range(load.connections)]
        by_file, poller = {caller.socket.fileno(): caller for caller in callers}, select.poll()
        for caller in callers:
            poller.register(caller.socket, select.POLLIN)
        began_at, unsent, done = time.perf_counter(), requests, 0
        for _ in range(load.streams):
            for caller in callers:
                caller.ask(exchange.body)
                unsent -= 1
        for caller in callers:
            caller.flush()
        while done < requests:
            ready = poller.poll(PATIENCE_S * 1000)
            if not ready:
                raise GeneratorFailed(f"{requests - done} requests were not answered")
            for file, _ in ready:
                caller = by_file[file]
                replies = caller.feed(caller.socket.recv(2**18))
                if any(reply.status for reply in replies):
                    raise GeneratorFailed("a request was refused")
                done += len(replies)
                for _ in range(min(unsent, len(replies))):
                    caller.ask(exchange.body)
                    unsent -= 1
                caller.flush()
        for caller in callers:
            caller.socket.close()
        return time.perf_counter() - began_at

    return send


@contextmanager
def collecting() -> Iterator[str]:
    """Where a collector listens inside the block."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "skylane.bench.tracing_cost", "--collect"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def collect() -> None:
    """Take spans until ended."""

    class Anything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
            assert details.method == EXPORT
            return grpc.unary_unary_rpc_method_handler(lambda _, __: b"")

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Anything(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.tracing_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="diabetes", help="a small one, where traces weigh most")
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each server, in each round, under each load")
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.collect:
        with contextlib.suppress(KeyboardInterrupt):
            collect()
        return 0
    generator, exchange = H2load(), exchange_of(options.models, options.model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = without_cache(options.models, options.model, folder / "models")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(collecting())}

        def without_trace(address: str, load: Load, requests: int) -> float:
            return generator.run(address, exchange, load, requests, folder).wall_s

        started = {
            label: stack.enter_context(running(_command(more), models, code=code, environment=environment))
            for label, code, more in (
                *([("before", options.before.resolve(), [])] if options.before else []),
                ("off", None, []),
                ("on, none begins a trace", None, ["--traces=otlp", "--trace-sample=0"]),
                (f"on, {SHARE:.0%} begins a trace", None, ["--traces=otlp", f"--trace-sample={SHARE}"]),
            )
        }
        callers: dict[str, tuple[Send, list[str]]] = {
            "no trace": (without_trace, list(started)),
            "a trace each, none recorded": (traced_calls(exchange, 0.0), list(started)[:-1]),
            f"a trace each, {SHARE:.0%} recorded": (traced_calls(exchange, SHARE), list(started)[:-1]),
        }
        print(f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {os.cpu_count()} CPUs")
        for who, (send, labels) in callers.items():
            print(f"callers send {who} ({generator.name if send is without_trace else 'a client of our own'})")
            contestants = [Contestant(label, started[label].pid, started[label].address, send) for label in labels]
            for load in LOADS:
                compare(contestants, load, options.rounds, options.seconds)
    return 0


def _command(more: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "skylane.server", *more]


if __name__ == "__main__":
    sys.exit(main())
