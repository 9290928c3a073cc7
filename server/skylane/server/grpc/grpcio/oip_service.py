"""The methods of the Open Inference Protocol that describe and control models. ModelInfer is a batched method: see
codecs/oip/requests.py.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.oip_views import EXTENSIONS, model_config, model_metadata, served_versions_of
from skylane.server.codecs.descriptor_pool import methods
from skylane.server.codecs.oip.messages import SERVICE
from skylane.server.codecs.oip.requests import route_of
from skylane.server.core.errors import BadRequest, ModelNotFound, ServingError
from skylane.server.core.token_scope import Grant
from skylane.server.core.types import Route
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor, refuse
from skylane.server.grpc.http2.direct_methods import Answer, DirectMethods
from skylane.version import __version__

Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Context], Awaitable[dict[str, Any]]]
"""(request, context) → the response as JSON. Raises ServingError."""


class InferenceService:
    """Everything of inference.GRPCInferenceService that is not a batched method."""

    def __init__(self, directory: ModelControl, auth: AuthInterceptor) -> None:
        self._directory, self._auth = directory, auth

    @property
    def direct(self) -> DirectMethods:
        """See protocols.Service: what probes ask."""
        handlers: Mapping[str, Callable[[Any, Grant], dict[str, Any]]] = {
            "ServerLive": lambda _, __: {"live": True},
            "ServerReady": lambda _, __: {"ready": self._directory.readiness.whole},
            "ModelReady": self._is_ready,
        }
        types = methods(SERVICE)
        return {f"/{SERVICE}/{name}": _direct(answer, *types[name]) for name, answer in handlers.items()}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        answers: Mapping[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        types = methods(SERVICE)
        handlers = {name: _handler(method, *types[name]) for name, method in answers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _server_live(self, _: Any, __: Context) -> dict[str, Any]:
        return {"live": True}

    async def _server_ready(self, _: Any, __: Context) -> dict[str, Any]:
        return {"ready": self._directory.readiness.whole}

    async def _server_metadata(self, _: Any, __: Context) -> dict[str, Any]:
        return {"name": "skylane", "version": __version__, "extensions": EXTENSIONS}

    async def _model_ready(self, request: Any, context: Context) -> dict[str, Any]:
        return self._is_ready(request, self._auth.grant(context))

    def _is_ready(self, request: Any, grant: Grant) -> dict[str, Any]:
        """An absent model is not ready, as in Triton: programs wait in a loop for models that are not published yet."""
        route = _route(request, grant)
        try:
            return {"ready": self._directory.is_ready(route)}
        except ModelNotFound:
            return {"ready": False}

    async def _model_metadata(self, request: Any, context: Context) -> dict[str, Any]:
        routes = self._directory.routes()
        interface = routes.served_version(self._route(request, context)).model.interface
        return model_metadata(interface, routes.models[interface.model].versions)

    async def _model_config(self, request: Any, context: Context) -> dict[str, Any]:
        served_version = self._directory.routes().served_version(self._route(request, context))
        return {"config": model_config(served_version.model.interface, served_version.policy)}

    async def _model_statistics(self, request: Any, context: Context) -> dict[str, Any]:
        grant = self._auth.grant(context)
        served_versions = served_versions_of(
            self._directory.routes(), self._route(request, context) if request.name else None
        )
        seen = [
            served_version
            for served_version in served_versions
            if grant.may("predict", served_version.model.interface.model)
        ]
        return {"model_stats": await self._directory.statistics(seen)}

    async def _index(self, request: Any, context: Context) -> dict[str, Any]:
        return {"models": self._directory.index(self._auth.grant(context), ready_only=request.ready)}

    async def _load(self, request: Any, context: Context) -> dict[str, Any]:
        model, is_kserve = _named(request)
        await self._directory.load(self._auth.grant(context), model, request.parameters)
        return {"model_name": model, "is_loaded": True} if is_kserve else {}

    async def _unload(self, request: Any, context: Context) -> dict[str, Any]:
        model, is_kserve = _named(request)
        await self._directory.unload(self._auth.grant(context), model, request.parameters)
        return {"model_name": model, "is_unloaded": True} if is_kserve else {}

    def _route(self, request: Any, context: Context) -> Route:
        return _route(request, self._auth.grant(context))


def _route(request: Any, grant: Grant) -> Route:
    """What the request names, for those who may use it. Raises ServingError."""
    if not request.name:
        raise BadRequest("name: expected the name of a model, received nothing")
    grant.check("predict", request.name)
    return route_of(request.name, request.version)


def _direct(method: Callable[[Any, Grant], dict[str, Any]], request_type: Any, response_type: Any) -> Answer:
    def answer(message: bytes, grant: Grant) -> bytes:
        try:
            request = request_type.FromString(message)
        except DecodeError as error:
            raise BadRequest(f"the message is not a {request_type.DESCRIPTOR.full_name}: {error}") from error
        written: bytes = json_format.ParseDict(method(request, grant), response_type()).SerializeToString()
        return written

    return answer


def _named(request: Any) -> tuple[str, bool]:
    """The model to load or unload, and whether KServe's client asks: it has the name in the first field."""
    is_kserve = not request.model_name
    return request.repository_name if is_kserve else request.model_name, is_kserve


def _handler(method: Method, request_type: Any, response_type: Any) -> Any:
    async def answer(request: Any, context: Context) -> Any:
        try:
            return json_format.ParseDict(await method(request, context), response_type())
        except ServingError as error:
            await refuse(context, error)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString
    )
