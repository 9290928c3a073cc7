"""A server that does nothing: it knows the answer to each request that it will get. What it costs is the harness.

Our own HTTP/2 implementation, one thread, a dict. A measurement near its rate measured the load generator.
"""

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.receiving_stream import StreamHandler
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.native.config import ReactorConfig
from skylane.server.grpc.native.reactor import Reactor
from skylane.server.host.addresses import bind

METHOD = "/skylane.v1.PredictionService/Predict"


class KnownAnswers:
    """A method that knows every answer."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer from the dict."""
        sink.answer(calls, [self._answers[payload] for payload in payloads])

    def too_large(self, size: int) -> MessageTooLarge:
        """Nothing that it knows is large."""
        return MessageTooLarge(f"{size} bytes")


def answers_in(directory: Path) -> dict[bytes, bytes]:
    """Pairs of files `<name>.request` and `<name>.reply`."""
    return {path.read_bytes(): path.with_suffix(".reply").read_bytes() for path in directory.glob("*.request")}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.baselines.null", description=__doc__)
    parser.add_argument("--answers", type=Path, required=True, help="directory of .request and .reply files")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    answers = KnownAnswers(answers_in(options.answers))
    config = ReactorConfig(method_handlers={METHOD: answers}, open_stream=_no_stream, limits=Limits())
    reactor = Reactor(bind("127.0.0.1", options.port).sockets, config)
    reactor.start()
    threading.Event().wait()
    return 0


def _no_stream(connection: Connection, stream_id: int, headers: RequestHeaders) -> StreamHandler:
    raise NotImplementedError(headers.path)


if __name__ == "__main__":
    sys.exit(main())
