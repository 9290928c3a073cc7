"""The two ways to listen: grpcio alone, or the native front with grpcio behind it. Same services, same behaviour."""

import asyncio
import importlib.util
import tempfile
from pathlib import Path
from typing import Final, Protocol

import grpc

from server.settings import Settings
from server.transport.grpcio import PREDICTION_SERVICE
from server.transport.skylane_v1.intake import Intake
from server.wording import cannot_bind

FORWARD_S: Final = 0.05
"""The front does not count the calls that it forwards: this long it gets to pass on their last bytes."""

PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"


class CannotListen(Exception):
    """The port or the transport is not to be had; the message says why and what to do."""


class Listener(Protocol):
    """Where callers connect. Bound when made, receiving from `start` on."""

    name: str
    port: int

    async def start(self) -> None:
        """Begin to receive."""

    @property
    def busy(self) -> bool:
        """Whether a reply is still on its way to a connection, as far as the transport can tell."""

    async def close(self) -> None:
        """Close every connection at once."""


def listen(settings: Settings, server: grpc.aio.Server, intake: Intake) -> Listener:
    """Bind as the settings say. Raises CannotListen."""
    installed = importlib.util.find_spec("pygrpc_native") is not None
    if settings.transport == "native" and not installed:
        raise CannotListen("transport: pygrpc-native is not installed here: use --transport grpcio, or auto")
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.transport == "grpcio" or not installed:
            return GrpcioListener(server, address)
        return NativeListener(server, address, intake, share_port=settings.supervised)
    except (OSError, RuntimeError) as error:
        raise CannotListen(cannot_bind(address, error)) from error


class GrpcioListener:
    """The asyncio grpcio server on the port itself."""

    name = "grpcio"

    def __init__(self, server: grpc.aio.Server, address: str) -> None:
        """Bind. Raises RuntimeError if the port cannot be bound."""
        self._server = server
        self.port = server.add_insecure_port(address)

    async def start(self) -> None:
        """See Listener."""
        await self._server.start()

    @property
    def busy(self) -> bool:
        """See Listener. What grpcio has open, its services count themselves."""
        return False

    async def close(self) -> None:
        """See Listener."""
        await self._server.stop(None)


class NativeListener:
    """The native front on the port, the grpcio server behind it on a Unix socket that only this user can reach."""

    name = "native"

    def __init__(self, server: grpc.aio.Server, address: str, intake: Intake, *, share_port: bool) -> None:
        """Bind. Raises OSError if the port cannot be bound."""
        from server.transport.native import NativeTransport  # its package may be missing where grpcio serves alone

        self._directory = tempfile.TemporaryDirectory(prefix="skylane-")
        socket = str(Path(self._directory.name) / "grpcio.sock")
        self._server = server
        self._server.add_insecure_port(f"unix:{socket}")
        self._front = NativeTransport(address, PREDICT, intake, socket, share_port=share_port)
        self.port = self._front.port

    async def start(self) -> None:
        """See Listener."""
        await self._server.start()
        self._front.start()

    @property
    def busy(self) -> bool:
        """See Listener."""
        return self._front.busy

    async def close(self) -> None:
        """See Listener. The server behind goes first: its calls pass through the front."""
        await self._server.stop(None)
        await asyncio.sleep(FORWARD_S)
        self._front.close()
        self._directory.cleanup()
