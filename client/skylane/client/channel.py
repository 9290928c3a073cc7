"""Channel options, the retry policy, and the methods that the client calls. Opens no connection."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from skylane.v1 import models_pb2 as models
from skylane.v1 import outcomes_pb2 as outcomes
from skylane.v1 import prediction_pb2 as prediction

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Reply]):
    """One method of a service: its path and its message types."""

    path: str
    request: type[Request]
    reply: type[Reply]


PREDICT: Final = Method("/skylane.v1.PredictionService/Predict", prediction.PredictRequest, prediction.PredictResponse)
PREDICT_STREAM: Final = Method(
    "/skylane.v1.PredictionService/PredictStream", prediction.PredictRequest, prediction.PredictStreamResponse
)
LIST_MODELS: Final = Method("/skylane.v1.ModelService/ListModels", models.ListModelsRequest, models.ListModelsResponse)
GET_MODEL: Final = Method("/skylane.v1.ModelService/GetModel", models.GetModelRequest, models.GetModelResponse)
RECORD_OUTCOMES: Final = Method("/skylane.v1.OutcomeService/Record", outcomes.RecordRequest, outcomes.RecordResponse)
# grpc.health.v1: the request is a string in field 1 and the reply an enum in field 1, which on the wire is exactly what
# these two well-known types are. So the client needs neither grpcio-health-checking nor a second copy of its
# descriptors, which would clash with it in a process that has both.
HEALTH: Final = Method("/grpc.health.v1.Health/Check", StringValue, Int32Value)
Health = Literal["UNKNOWN", "SERVING", "NOT_SERVING"]
HEALTH_OF: Final[dict[int, Health]] = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING"}

UNARY: Final[tuple[Method[Any, Any], ...]] = (PREDICT, LIST_MODELS, GET_MODEL, RECORD_OUTCOMES, HEALTH)

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Default bound on one message in either direction: 16 million float32 numbers. gRPC's own default is 4 MiB."""

RECONNECT: Final[tuple[tuple[str, int], ...]] = (
    # gRPC waits longer after each failed attempt to connect, with a random part of a fifth so that clients do not come
    # back together. With its default maximum of 120 s, clients took 17 s to reconnect after an outage of 25 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # How long one attempt may take, despite the option's name; the default is 20 s. The kernel sends SYN again after 1,
    # 3 and 7 s: an attempt that ends after 5 s and starts anew never lets 2 s pass without one. 5 s are enough for TCP,
    # TLS and HTTP/2 over a slow network.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # For servers that come back under another address: a failed connection may resolve the name after 1 s, not 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)
"""With these options, a client reconnects within 2 s after the server is ready again, if its name resolves in DNS.

A name that does not resolve is tried again after up to 2 minutes, for which gRPC has no option."""

UNACKNOWLEDGED_MS_MAX: Final = 5000
"""How long sent data may stay unacknowledged before the connection counts as lost (TCP_USER_TIMEOUT).

The kernel retransmits after 0.2, 0.6, 1.4 and 3 s; later retransmissions are so far apart that a new connection is
faster. A server process that hangs does not lose connections, because its kernel acknowledges data."""

_OTHER_SCHEMES: Final = ("unix:", "unix-abstract:", "vsock:", "xds:", "ipv4:", "ipv6:", "passthrough:")


def check_target(target: Any) -> None:
    """Raise TypeError or ValueError for a target that gRPC would misread: it adds port 443 if none is given."""
    if not isinstance(target, str):
        raise TypeError(f"target is {target!r}: expected text, such as 'localhost:8500'")
    if target.startswith(_OTHER_SCHEMES):
        return
    address = target
    if target.startswith("dns:"):
        address = target.removeprefix("dns:")
        if address.startswith("//"):
            address = address[2:].partition("/")[2]
    elif "://" in target:
        raise ValueError(f"{target!r} is a URL: expected HOST:PORT, such as localhost:8500")
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.replace(":", "/")
    if not bare or "/" in bare or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{target!r} is not an address: expected HOST:PORT, such as localhost:8500")


def service_config(target: str) -> dict[str, Any]:
    """The retry policy, and round robin if the target is a DNS name.

    Only UNAVAILABLE is retried: the request was not processed, and predictions may be repeated anyway. Retrying
    DEADLINE_EXCEEDED or INTERNAL would only add load, and RESOURCE_EXHAUSTED comes with a pause of its own.
    Throttling keeps retries from prolonging an outage: they stop after about 500 failures without as many successes,
    and stay off while more than a third of all calls fail.
    """
    config: dict[str, Any] = {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 4,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.5},
    }
    if target.startswith("dns:"):
        config["loadBalancingConfig"] = [{"round_robin": {}}]
    return config


def channel_options(
    target: str, version: str, max_message_bytes: int, more: Sequence[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Options for a channel to `target`; `more` take precedence. Each name occurs once: gRPC uses the first only."""
    options: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", f"skylane-client/{version}"),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # gRPC retries only requests that fit its retry buffer; with the default of 256 KiB, large ones never would be.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        ("grpc.service_config", json.dumps(service_config(target))),
        *RECONNECT,
        # 300 s is the shortest interval that gRPC servers accept by default; they answer shorter ones with GOAWAY. The
        # timeout detects a dead peer quickly: it also bounds how long sent bytes may stay unacknowledged.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", UNACKNOWLEDGED_MS_MAX),
        *more,
    ]
    return list(dict(options).items())
