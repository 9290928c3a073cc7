"""ModelService and the standard health service: what the server says of itself."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from skylane import manifest as manifests
from skylane.dtypes import TO_PROTO
from skylane.server.admin.readiness import Readiness
from skylane.server.codecs.oip import messages as oip
from skylane.server.codecs.skylane_v1.outcomes import OUTCOME_SERVICE
from skylane.server.codecs.skylane_v1.requests import PREDICTION_SERVICE
from skylane.server.codecs.tfs import messages as tfs
from skylane.server.core.errors import BadRequest, ServingError
from skylane.server.core.token_scope import Grant
from skylane.server.core.types import Interface, Route
from skylane.server.engine.routes import Routes
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor, refuse
from skylane.server.grpc.grpcio.reflection import add_reflection
from skylane.server.grpc.http2.direct_methods import DirectMethods
from skylane.server.grpc.http2.health import CHECK, Health
from skylane.server.repository.repository import ModelStatus, State
from skylane.v1 import models_pb2 as pb
from skylane.v1 import models_pb2_grpc, outcomes_pb2, prediction_pb2

MODEL_SERVICE: Final[str] = pb.DESCRIPTOR.services_by_name["ModelService"].full_name
SERVICES: Final = (
    PREDICTION_SERVICE,
    MODEL_SERVICE,
    OUTCOME_SERVICE,
    oip.SERVICE,
    tfs.PREDICTION_SERVICE,
    tfs.MODEL_SERVICE,
    health.SERVICE_NAME,
)

_STATES: Final = {
    State.LOADING: pb.VERSION_STATE_LOADING,
    State.READY: pb.VERSION_STATE_READY,
    State.FAILED: pb.VERSION_STATE_FAILED,
    State.RETIRING: pb.VERSION_STATE_RETIRING,
}

Context = grpc.aio.ServicerContext[Any, Any]


class ModelService:
    """Models, health and reflection on an asyncio server. Its content is set by `update`."""

    def __init__(self, readiness: Readiness, auth: AuthInterceptor) -> None:
        self.health = Health()
        """The same for the thread that receives."""
        self._health = health.aio.HealthServicer()
        self._models = _ModelService(auth)
        self._readiness = readiness
        self._shown: dict[str, bool] = {}

    @property
    def direct(self) -> DirectMethods:
        return {CHECK: self.health.check, f"/{MODEL_SERVICE}/ListModels": self._models.listed}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the three services."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(self._models, server)  # type: ignore[no-untyped-call]
        add_reflection(
            server, SERVICES, (prediction_pb2.DESCRIPTOR, pb.DESCRIPTOR, outcomes_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
        )

    async def update(self, status: Mapping[str, ModelStatus], routes: Routes) -> None:
        """Show this state of affairs, and how ready it makes the server."""
        self._models.status, self._models.routes = status, routes
        if not self._readiness.draining:
            whole = self._readiness.whole
            await self._show({**self._readiness.models, "": whole} | dict.fromkeys(SERVICES, whole))

    async def drain(self) -> None:
        """Show everything as not serving, for good."""
        self.health.show(dict.fromkeys(self._shown, False))
        await self._health.enter_graceful_shutdown()

    async def _show(self, serving: Mapping[str, bool]) -> None:
        """Set what changed: watchers hear of every set."""
        gone = {name: False for name in self._shown if name not in serving}
        self.health.show({**gone, **serving})
        for service, is_serving in (*gone.items(), *serving.items()):
            if self._shown.get(service) is not is_serving:
                self._shown[service] = is_serving
                await self._health.set(
                    service,
                    health_pb2.HealthCheckResponse.SERVING
                    if is_serving
                    else health_pb2.HealthCheckResponse.NOT_SERVING,
                )


class _ModelService(models_pb2_grpc.ModelServiceServicer):
    """See proto/skylane/v1/models.proto."""

    def __init__(self, auth: AuthInterceptor) -> None:
        self._auth = auth
        self.status: Mapping[str, ModelStatus] = {}
        self.routes = Routes()

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802, ARG002
        """See the .proto. Lists the models in the scope of the caller's token."""
        return self._listed(self._auth.grant(context))

    def listed(self, message: bytes, grant: Grant) -> bytes:
        """ListModels, see skylane.server.grpc.http2.direct_methods.Answer."""
        try:
            pb.ListModelsRequest.FromString(message)
        except DecodeError as error:
            raise BadRequest(f"the message is not a skylane.v1.ListModelsRequest: {error}") from error
        return self._listed(grant).SerializeToString()

    def _listed(self, grant: Grant) -> pb.ListModelsResponse:
        seen = [(name, model) for name, model in self.status.items() if grant.may("predict", name)]
        return pb.ListModelsResponse(models=[_status_message(name, model) for name, model in seen])

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """See the .proto."""
        which = request.WhichOneof("which")
        try:
            if not request.model:
                raise BadRequest("model: expected the name of a model, received nothing")
            self._auth.grant(context).check("predict", request.model)
            served_version = self.routes.served_version(
                Route(
                    request.model,
                    request.version if which == "version" else None,
                    request.label if which == "label" else None,
                )
            )
        except ServingError as error:
            await refuse(context, error)
        return pb.GetModelResponse(
            model=_model_message(served_version.model.interface, served_version.model.manifest_json)
        )


def _status_message(name: str, model: ModelStatus) -> pb.ModelStatus:
    versions = [
        pb.VersionStatus(version=version, state=_STATES[status.state], reason=status.reason)
        for version, status in model.versions.items()
    ]
    return pb.ModelStatus(name=name, versions=versions, labels=model.labels)


def _model_message(interface: Interface, manifest_json: bytes) -> pb.Model:
    manifest = manifests.decode(manifest_json)
    return pb.Model(
        name=interface.model,
        version=interface.version,
        task=manifest.task,
        tensors=[
            pb.TensorSpec(name=spec.name, dtype=TO_PROTO[spec.dtype], shape=_shape(spec.shape))
            for spec in interface.tensors
        ],
        columns=[
            pb.ColumnSpec(
                name=column.name,
                dtype=TO_PROTO[column.dtype],
                tensor=column.tensor,
                index=column.index,
                may_be_missing=column.missing is not None,
            )
            for column in interface.columns
        ],
        outputs=[
            pb.OutputSpec(
                name=output.name,
                dtype=TO_PROTO[output.dtype],
                shape=_shape(output.shape),
                role="" if output.role == "other" else output.role,
                classes=[str(label) for label in output.classes],
            )
            for output in interface.outputs
        ],
        manifest_json=manifest_json,
    )


def _shape(shape: tuple[int | None, ...]) -> list[int]:
    return [-1 if size is None else size for size in shape]
