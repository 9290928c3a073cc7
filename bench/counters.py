"""What our server says that it has done: its own counters, read as any client of the Open Inference Protocol would."""

from dataclasses import dataclass
from typing import Final

import grpc

from bench.servers import Server
from server.transport.foreign import message
from server.transport.oip.messages import SERVICE

_Request: Final = message("inference.ModelStatisticsRequest")
_Response: Final = message("inference.ModelStatisticsResponse")
TOLD_BY: Final = ("native", "grpcio")
"""Kinds of servers that have counters. Two workers have two sets, of which a caller sees one."""


@dataclass(frozen=True)
class Counters:
    """Of one model since it was loaded."""

    executions: int
    rows: int
    answered: int
    """Calls, from the cache or not."""
    hits: int

    def since(self, before: "Counters") -> "Counters":
        """What came after."""
        return Counters(
            self.executions - before.executions,
            self.rows - before.rows,
            self.answered - before.answered,
            self.hits - before.hits,
        )

    @property
    def batch_rows(self) -> float | None:
        """Rows of one execution, on average."""
        return round(self.rows / self.executions, 2) if self.executions else None

    @property
    def hit_share(self) -> float | None:
        """Share of calls answered from the cache; None if it answered none."""
        return round(self.hits / self.answered, 4) if self.hits else None


def counters(server: Server, model: str) -> Counters | None:
    """As of now; None if this server has none."""
    if server.kind.name not in TOLD_BY:
        return None
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/ModelStatistics",
            request_serializer=_Request.SerializeToString,
            response_deserializer=_Response.FromString,
        )
        (told,) = ask(_Request(name=model), timeout=10).model_stats
    stats = told.inference_stats
    return Counters(told.execution_count, told.inference_count, stats.success.count, stats.cache_hit.count)
