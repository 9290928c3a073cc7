"""The protocols spoken over gRPC, in one place: adding one is a package beside this file, and its lines here."""

from collections.abc import Callable
from typing import Protocol

import grpc

from server.block import Answerer
from server.directory import Directory
from server.tally import Tally
from server.transport.hot import HotMethods, StreamMethod
from server.transport.intake import Intake
from server.transport.oip.messages import INFER, INFER_STREAM
from server.transport.oip.requests import InferDecoder, stream_message
from server.transport.oip.service import InferenceService
from server.transport.paths import PROTOCOLS
from server.transport.permission import Permission
from server.transport.skylane_v1.replies import message_of
from server.transport.skylane_v1.requests import PREDICT, PREDICT_STREAM, RequestDecoder
from server.transport.tfs.messages import PREDICT as TENSORFLOW
from server.transport.tfs.requests import PredictDecoder
from server.transport.tfs.service import TensorFlowService


class Service(Protocol):
    """Methods that are answered one call at a time."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register them."""


def hot_methods(
    engine: Answerer, clock: Callable[[], float], message_bytes_max: int, unserved: Tally | None = None
) -> HotMethods:
    """Methods whose calls may come many at once, of every protocol, on one engine.

    `unserved`: where those are counted that are refused before the engine has them.
    """
    decoders = {
        PREDICT: RequestDecoder(unserved),
        INFER: InferDecoder(clock, unserved),
        TENSORFLOW: PredictDecoder(unserved),
    }
    intakes = {
        path: Intake(engine, decoder, message_bytes_max, PROTOCOLS[path], unserved)
        for path, decoder in decoders.items()
    }
    streams = {
        PREDICT_STREAM: StreamMethod(intakes[PREDICT], message_of),
        INFER_STREAM: StreamMethod(intakes[INFER], stream_message),
    }
    return HotMethods(intakes, streams)


def services(directory: Directory, permission: Permission) -> tuple[Service, ...]:
    """What other people's protocols say and ask beside their hot methods."""
    return InferenceService(directory, permission), TensorFlowService(directory, permission)
