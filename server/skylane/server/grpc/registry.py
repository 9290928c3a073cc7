"""All protocols over gRPC. To add one, add its codec and service, and its lines here."""

from collections.abc import Callable
from typing import Protocol

import grpc

from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.outcome_recording import OutcomeRecording
from skylane.server.codecs.oip.messages import INFER, INFER_STREAM
from skylane.server.codecs.oip.requests import InferDecoder, stream_message
from skylane.server.codecs.skylane_v1.replies import message_of
from skylane.server.codecs.skylane_v1.requests import PREDICT, PREDICT_STREAM, RequestDecoder
from skylane.server.codecs.tfs.messages import PREDICT as TENSORFLOW
from skylane.server.codecs.tfs.requests import PredictDecoder
from skylane.server.core.batch_task import Answerer
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.grpc.base.method_handler import MethodHandler
from skylane.server.grpc.base.method_protocols import PROTOCOLS
from skylane.server.grpc.base.method_table import BatchedMethods, StreamMethod
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor
from skylane.server.grpc.grpcio.oip_service import InferenceService
from skylane.server.grpc.grpcio.outcome_service import OutcomeService
from skylane.server.grpc.grpcio.tfs_service import TensorFlowService
from skylane.server.grpc.http2.direct_methods import DirectMethods


class Service(Protocol):
    """Methods that are answered one call at a time."""

    @property
    def direct(self) -> DirectMethods:
        """Those that the native transport answers itself."""
        ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register them."""


def batched_methods(
    engine: Answerer, clock: Callable[[], float], message_bytes_max: int, rejections: RejectionCounter
) -> BatchedMethods:
    """The batched methods of every protocol, on one engine.

    `rejections` counts the requests that are refused before they reach the engine.
    """
    decoders = {
        PREDICT: RequestDecoder(rejections),
        INFER: InferDecoder(clock, rejections),
        TENSORFLOW: PredictDecoder(rejections),
    }
    method_handlers = {
        path: MethodHandler(engine, decoder, message_bytes_max, PROTOCOLS[path], rejections)
        for path, decoder in decoders.items()
    }
    streams = {
        PREDICT_STREAM: StreamMethod(method_handlers[PREDICT], message_of),
        INFER_STREAM: StreamMethod(method_handlers[INFER], stream_message),
    }
    return BatchedMethods(method_handlers, streams)


def services(directory: ModelControl, outcomes: OutcomeRecording, auth: AuthInterceptor) -> tuple[Service, ...]:
    """Outcomes, and the methods of other protocols that are not batched."""
    return OutcomeService(outcomes, auth), InferenceService(directory, auth), TensorFlowService(directory, auth)
