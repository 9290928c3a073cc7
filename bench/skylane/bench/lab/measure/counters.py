"""What our server has done by its own counters, read as any client of the Open Inference Protocol would."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from skylane.bench.client.access import OPEN, Access
from skylane.server.codecs.descriptor_pool import message
from skylane.server.codecs.oip.messages import SERVICE

_Request: Final = message("inference.ModelStatisticsRequest")
_Response: Final = message("inference.ModelStatisticsResponse")


@dataclass(frozen=True)
class Counters:
    """Of one model since it was loaded."""

    executions: int
    rows: int
    answered: int
    """Calls, from the cache or not."""
    hits: int
    misses: int = 0
    """Calls whose answer was not in the cache; those that waited for an equal one are neither."""
    batches: Mapping[int, int] = field(default_factory=dict)
    """Rows of an execution → executions of so many."""

    def since(self, before: "Counters") -> "Counters":
        """What came after."""
        return Counters(
            self.executions - before.executions,
            self.rows - before.rows,
            self.answered - before.answered,
            self.hits - before.hits,
            self.misses - before.misses,
            {
                rows: count - before.batches.get(rows, 0)
                for rows, count in self.batches.items()
                if count > before.batches.get(rows, 0)
            },
        )

    @property
    def batch_rows(self) -> float | None:
        """Rows of one execution, on average."""
        return round(self.rows / self.executions, 2) if self.executions else None

    @property
    def hit_share(self) -> float | None:
        """Share of calls answered from the cache; None if it was not asked for any."""
        return round(self.hits / self.answered, 4) if self.answered and (self.hits or self.misses) else None


def counters_at(address: str, model: str, access: Access = OPEN) -> Counters:
    """As of now, of all versions of a model together. Raises grpc.RpcError."""
    with access.channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/ModelStatistics",
            request_serializer=_Request.SerializeToString,
            response_deserializer=_Response.FromString,
        )
        versions = ask(_Request(name=model), timeout=10, metadata=access.metadata).model_stats
    batches = Counter[int]()
    for each in versions:
        batches.update({size.batch_size: size.compute_infer.count for size in each.batch_stats})
    stats = [each.inference_stats for each in versions]
    return Counters(
        executions=sum(each.execution_count for each in versions),
        rows=sum(each.inference_count for each in versions),
        answered=sum(each.success.count for each in stats),
        hits=sum(each.cache_hit.count for each in stats),
        misses=sum(each.cache_miss.count for each in stats),
        batches=dict(batches),
    )
