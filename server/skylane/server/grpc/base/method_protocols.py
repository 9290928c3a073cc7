"""The protocol that a method's path belongs to, for counting requests."""

from typing import Final

from skylane.server.codecs.oip.messages import INFER, INFER_STREAM
from skylane.server.codecs.skylane_v1.requests import PREDICT, PREDICT_STREAM
from skylane.server.codecs.tfs.messages import PREDICT as TENSORFLOW

PROTOCOLS: Final = {
    PREDICT: "skylane_grpc",
    PREDICT_STREAM: "skylane_grpc",
    INFER: "oip_grpc",
    INFER_STREAM: "oip_grpc",
    TENSORFLOW: "tfs_grpc",
}
"""Path of a batched method → the name under which its requests are counted."""
OTHERS: Final = "grpc"
"""The name for all other methods, including those that do not exist."""


def protocol_of(path: str) -> str:
    """The name under which requests to this path are counted."""
    return PROTOCOLS.get(path, OTHERS)
