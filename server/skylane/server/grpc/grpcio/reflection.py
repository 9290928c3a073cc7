"""Server reflection under both of its names: tools of today ask for v1 first, and some for nothing else.

grpcio's package knows v1alpha alone. v1 has the same messages and the same method in another package (grpc-proto,
grpc/reflection/v1/reflection.proto).
"""

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

from skylane.server.codecs.descriptor_pool import pool_with

V1ALPHA: Final = reflection.SERVICE_NAME
V1: Final = V1ALPHA.replace("v1alpha", "v1")


def add_reflection(server: grpc.aio.Server, services: Iterable[str], descriptors: Iterable[Any]) -> None:
    """Describe these services, which the descriptors of files define, and of reflection itself."""
    pool = pool_with((*descriptors, reflection_pb2.DESCRIPTOR))
    pool.Add(_as_v1())
    servicer = reflection.aio.ReflectionServicer((*services, V1ALPHA, V1), pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = {"ServerReflectionInfo": method}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers) for name in (V1ALPHA, V1)])


def _as_v1() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    renamed = text_format.MessageToString(file).replace("v1alpha", "v1")
    return text_format.Parse(renamed, descriptor_pb2.FileDescriptorProto())
