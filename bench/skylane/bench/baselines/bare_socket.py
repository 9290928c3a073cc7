"""What no server can do without: a request's bytes through a socket, one `session.run`, the answer's bytes back.

No HTTP/2, no gRPC, no protobuf, no batching, one connection after another. Each request is as long as the others, so
that not even a length has to be sent.
"""

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skylane.onnx_runtime import onnxruntime as ort

DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(double)": np.dtype(np.float64)}


def serve(listening: socket.socket, session: ort.InferenceSession, rows: int) -> None:
    """Answer until the process is ended."""
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    features, dtype = given.shape[1], DTYPES[given.type]
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (received := receive(connection, rows * features * dtype.itemsize)) is not None:
                inputs = np.frombuffer(received, dtype).reshape(rows, features).copy()
                outputs = session.run(names, {given.name: inputs})
                connection.sendall(b"".join(np.asarray(output).tobytes() for output in outputs))


def receive(connection: socket.socket, size: int) -> bytearray | None:
    """Exactly so many bytes; None if the peer has gone."""
    received = bytearray(size)
    view, got = memoryview(received), 0
    while got < size:
        count = connection.recv_into(view[got:])
        if not count:
            return None
        got += count
    return received


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; prints its port. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.baselines.bare_socket", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="ONNX file with one input of numbers")
    parser.add_argument("--rows", type=int, required=True, help="of each request")
    options = parser.parse_args(argv)
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = 1
    session = ort.InferenceSession(options.model, session_options, providers=["CPUExecutionProvider"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        serve(listening, session, options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
