"""A server that does nothing: it knows the answer to each request that it will get. What it costs is the harness.

The same HTTP/2 front as ours, one thread, a dict. A measurement near its rate measured the load generator.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pygrpc_native import EVENT_CALL, NativeGrpcFront

METHOD = "/skylane.v1.PredictionService/Predict"


def answers_in(directory: Path) -> dict[bytes, bytes]:
    """Pairs of files `<name>.request` and `<name>.reply`."""
    return {path.read_bytes(): path.with_suffix(".reply").read_bytes() for path in directory.glob("*.request")}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.baselines.null", description=__doc__)
    parser.add_argument("--answers", type=Path, required=True, help="directory of .request and .reply files")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    answers = answers_in(options.answers)
    front = NativeGrpcFront(f"127.0.0.1:{options.port}", [(METHOD, False)], io_threads=1)
    front.start()
    receive, respond = front.recv_batch, front.respond
    while (events := receive(256, 500)) is not None:  # returns now and then, so that a signal is seen
        for kind, call_id, _, payload, _ in events:
            if kind == EVENT_CALL and payload is not None:
                respond(call_id, answers[payload])
    return 0


if __name__ == "__main__":
    sys.exit(main())
