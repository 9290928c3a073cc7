"""OutcomeService: what became true after predictions."""

from typing import Any

import grpc

from skylane.server.admin.outcome_recording import OutcomeRecording
from skylane.server.codecs.skylane_v1.outcomes import OUTCOME_SERVICE, decode, encode
from skylane.server.core.errors import ServingError
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor, refuse
from skylane.server.grpc.http2.direct_methods import DirectMethods

Context = grpc.aio.ServicerContext[Any, Any]


class OutcomeService:
    """See proto/skylane/v1/outcomes.proto."""

    def __init__(self, recording: OutcomeRecording, auth: AuthInterceptor) -> None:
        self._recording, self._auth = recording, auth

    @property
    def direct(self) -> DirectMethods:
        """See registry.Service."""
        return {}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods. They take and give bytes: the codec is ours."""
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Record": grpc.unary_unary_rpc_method_handler(self._record)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(OUTCOME_SERVICE, handlers),))

    async def _record(self, message: bytes, context: Context) -> bytes:
        try:
            model, columns = decode(message)
            return encode(await self._recording.record(self._auth.grant(context), model, columns))
        except ServingError as error:
            await refuse(context, error)
