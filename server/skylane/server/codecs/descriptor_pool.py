"""The messages of other protocols, in a separate descriptor pool.

Generated modules would use protobuf's default pool. If a client of such a protocol in the same process defines messages
of the same names there, whichever is imported second fails. So the compiled descriptors, which `tasks.py proto` writes,
are loaded into a pool here.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS: Final = "foreign.binpb"

_FILES: Final = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / DESCRIPTORS).read_bytes()).file
POOL: Final = descriptor_pool.DescriptorPool()
for _file in _FILES:  # each file comes after those that it imports
    POOL.Add(_file)


def message(name: str) -> Any:
    """The class of the message with this full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def methods(service: str) -> Mapping[str, tuple[Any, Any]]:
    """Method → (class of its request, class of its response)."""
    descriptor = POOL.FindServiceByName(service)
    return {
        each.name: (message(each.input_type.full_name), message(each.output_type.full_name))
        for each in descriptor.methods
    }


def pool_with(descriptors: Iterable[Any]) -> descriptor_pool.DescriptorPool:
    """A pool with these messages and those of the other protocols, for server reflection."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(descriptor: Any) -> None:
        if descriptor.name in added:
            return
        added.add(descriptor.name)
        for imported in descriptor.dependencies:
            add(imported)
        pool.AddSerializedFile(descriptor.serialized_pb)

    for descriptor in descriptors:
        add(descriptor)
    for file in _FILES:
        if file.name not in added:
            added.add(file.name)
            pool.Add(file)
    return pool
