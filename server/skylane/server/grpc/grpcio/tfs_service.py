"""TensorFlow Serving's methods that describe models. Predict is a batched method: see codecs/tfs/requests.py."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from skylane.server.admin.model_control import ModelControl
from skylane.server.codecs.descriptor_pool import methods
from skylane.server.codecs.tfs.messages import MODEL_SERVICE, NUMBER_OF, PREDICTION_SERVICE, SIGNATURE, SignatureDefMap
from skylane.server.codecs.tfs.requests import route_of
from skylane.server.core.errors import BadRequest, ServingError
from skylane.server.core.types import Interface, Route
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor, refuse
from skylane.server.grpc.http2.direct_methods import DirectMethods
from skylane.server.repository.repository import State, VersionStatus

Context = grpc.aio.ServicerContext[Any, Any]

_STATES = {State.LOADING: 20, State.READY: 30, State.FAILED: 50, State.RETIRING: 40}
_FAILED_PRECONDITION = 9
_SIGNATURES = "signature_def"


class TensorFlowService:
    """GetModelMetadata and GetModelStatus."""

    def __init__(self, directory: ModelControl, auth: AuthInterceptor) -> None:
        self._directory, self._auth = directory, auth

    @property
    def direct(self) -> DirectMethods:
        return {}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register both methods."""
        for service, name, method in (
            (PREDICTION_SERVICE, "GetModelMetadata", self._metadata),
            (MODEL_SERVICE, "GetModelStatus", self._status),
        ):
            handlers = {name: _handler(method, *methods(service)[name])}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _route(self, request: Any, context: Context) -> Route:
        route = route_of(request.model_spec)
        self._auth.grant(context).check("predict", route.model)
        return route

    async def _metadata(self, request: Any, context: Context, response: Any) -> None:
        route = self._route(request, context)
        if list(request.metadata_field) != [_SIGNATURES]:
            raise BadRequest(f"metadata_field: expected {_SIGNATURES}, received {list(request.metadata_field)}")
        interface = self._directory.routes().served_version(route).model.interface
        response.model_spec.name, response.model_spec.version.value = interface.model, interface.version
        response.metadata[_SIGNATURES].Pack(_signatures(interface))

    async def _status(self, request: Any, context: Context, response: Any) -> None:
        """The state of every version, or of the one that the request names."""
        route, routes = self._route(request, context), self._directory.routes()
        known = self._directory.status().get(route.model)
        one = route.version is not None or route.label is not None
        if known is None or (one and route.version not in known.versions):
            version = routes.served_version(route).model.interface.version  # raises for what is not there
            versions = {version: VersionStatus(State.READY)}
        else:
            versions = {v: each for v, each in known.versions.items() if route.version in (None, v)}
        for version, each in versions.items():
            entry = response.model_version_status.add(version=version, state=_STATES[each.state])
            if each.state is State.FAILED:
                entry.status.error_code, entry.status.error_message = _FAILED_PRECONDITION, each.reason


def _signatures(interface: Interface) -> Any:
    """The tensors, as the one signature that there is."""
    made = SignatureDefMap()
    signature = made.signature_def[SIGNATURE]
    signature.method_name = "tensorflow/serving/predict"
    for field, specs in ((signature.inputs, interface.tensors), (signature.outputs, interface.outputs)):
        for spec in specs:
            info = field[spec.name]
            info.name, info.dtype = spec.name, NUMBER_OF[spec.dtype]
            for size in spec.shape:
                info.tensor_shape.dim.add(size=-1 if size is None else size)
    return made


def _handler(method: Callable[[Any, Context, Any], Awaitable[None]], request_type: Any, response_type: Any) -> Any:
    async def answer(request: Any, context: Context) -> Any:
        response = response_type()
        try:
            await method(request, context, response)
        except ServingError as error:
            await refuse(context, error)
        return response

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString
    )
