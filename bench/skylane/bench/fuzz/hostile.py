"""Neighbours on connections of their own that flood, reset, break off and send garbage."""

import random
import socket
import struct
from typing import Final

from skylane.bench.workload.http2 import whole_call
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import ACK, Code, Kind, Setting

HELD_MAX: Final = 20
"""Connections that stay open at once."""


class Neighbours:
    """Opens connections, sends what a seed decides, and leaves them open, closes them or resets them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._held: list[socket.socket] = []

    def act(self, rng: random.Random, bodies: list[bytes]) -> None:
        """One hostile act. `bodies`: requests that honest clients send."""
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        connection.setblocking(False)
        try:
            connection.send(_written(rng, bodies))  # what does not fit into the buffers is left out
        except OSError:
            connection.close()  # the server has closed it
            return
        self._held.append(connection)
        while len(self._held) > HELD_MAX:
            _leave(rng, self._held.pop(rng.randrange(len(self._held))))

    def close(self) -> None:
        """Leave with all connections."""
        while self._held:
            self._held.pop().close()


def _leave(rng: random.Random, connection: socket.socket) -> None:
    if rng.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # with a reset
    connection.close()


def _written(rng: random.Random, bodies: list[bytes]) -> bytes:
    greeting = frames.PREFACE + frames.settings({})
    match rng.randrange(7):
        case 0:
            return rng.randbytes(rng.randrange(1, 5000))
        case 1:
            return greeting + rng.randbytes(rng.randrange(1, 5000))
        case 2:
            ping = frames.frame(Kind.PING, 0, 0, bytes(8))
            return greeting + rng.choice((ping, frames.settings({}), frames.frame(Kind.PING, ACK, 0, bytes(8)))) * 3000
        case 3:
            return greeting + _requests(rng, bodies, resets=True)
        case 4:
            written = bytearray(greeting + _requests(rng, bodies, resets=False))
            for _ in range(5):
                written[rng.randrange(len(greeting), len(written))] = rng.randrange(256)
            return bytes(written)
        case 5:  # it reads no answer
            closed = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
            return closed + _requests(rng, bodies, resets=False)
        case _:
            written = bytearray(greeting + _requests(rng, bodies, resets=False))
            return bytes(written[: rng.randrange(1, len(written))])


def _requests(rng: random.Random, bodies: list[bytes], *, resets: bool) -> bytes:
    written = bytearray()
    for number in range(rng.randrange(1, 100)):
        stream_id = 2 * number + 1
        written += whole_call(stream_id, rng.choice(bodies))
        if resets:
            written += frames.reset(stream_id, Code.CANCEL)
    return bytes(written)
