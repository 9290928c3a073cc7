"""What traces cost: a server of an earlier commit, this one without traces, with them and none recorded, and with 1 %.

    git worktree add ../before <commit>     # and an environment for it, with `pip install -e ../before`
    python -m skylane.bench.experiments.tracing_cost --models models --model diabetes --before
    ../before/.venv/bin/python

See `skylane.bench.experiments.cpu_comparison`. Callers send no trace (h2load, where it is installed), or
another `traceparent` with every request, as gRPC's C core writes it, of which none or 1 % is recorded (our own client,
since h2load sends the same bytes again and again). Spans go to a collector in a process of its own, which reads none of
them.
"""

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from skylane.bench.client.generator import Generator, OwnClient, choose
from skylane.bench.experiments.cpu_comparison import SERVER, parser, started
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.servers import Kind

SHARE: Final = 0.01
EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@contextmanager
def collecting() -> Iterator[str]:
    """Where a collector listens inside the block."""
    command = [sys.executable, "-P", "-m", "skylane.bench.experiments.tracing_cost", "--collect"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
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
    command = parser("python -m skylane.bench.experiments.tracing_cost", __doc__.partition("\n")[0])
    command.add_argument("--before", type=Path, metavar="PYTHON", help="Python with another version, to compare with")
    command.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    options = command.parse_args(argv)
    if options.collect:
        with contextlib.suppress(KeyboardInterrupt):
            collect()
        return 0
    with collecting() as collector, started(options, list(_kinds(options.before, collector))) as side_by_side:
        labels = list(side_by_side.servers)
        callers: tuple[tuple[str, Generator, list[str]], ...] = (
            ("no trace", choose("auto"), labels),
            ("a trace each, none recorded", OwnClient(traced=0.0), labels[:-1]),
            (f"a trace each, {SHARE:.0%} recorded", OwnClient(traced=SHARE), labels[:-1]),
        )
        print(f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {os.cpu_count()} CPUs")
        for who, generator, compared in callers:
            print(f"callers send {who} ({generator.name})")
            side_by_side.compare(generator, compared)
    return 0


def _kinds(before: Path | None, collector: str) -> Iterator[Kind]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    arguments = ("-m", "skylane.server", *SERVER)
    if before is not None:
        yield Kind("before", "grpc", arguments, python=os.fspath(before), environment=environment)
    yield Kind("off", "grpc", arguments, environment=environment)
    for name, share in (("none", 0.0), (f"{SHARE:.0%}", SHARE)):
        traced = ("--traces=otlp", f"--trace-sample={share:g}")
        yield Kind(f"on, {name} begins a trace", "grpc", (*arguments, *traced), environment=environment)


if __name__ == "__main__":
    sys.exit(main())
