"""The batch sizes that candidates are timed for, and the weight of each. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from skylane.convert.errors import BadArgument

SHOWN: Final = (1, 64, 1024)
"""Batch sizes that are always timed: a single caller, a busy server, a job that sends many rows."""

ROWS_MAX: Final = 65_536
SIZES_MAX: Final = 8


@dataclass(frozen=True)
class Batches:
    """How often batches of each size run, as shares that add up to one."""

    shares: Mapping[int, float]

    @property
    def sizes(self) -> tuple[int, ...]:
        """All batch sizes that are timed, in ascending order; those without a share are for information."""
        return tuple(sorted({*self.shares, *SHOWN}))

    def cost(self, latency_us: Mapping[str, float]) -> float:
        """Weighted geometric mean of the times, in microseconds, so that a ratio counts the same at every size."""
        return math.exp(sum(share * math.log(latency_us[str(size)]) for size, share in self.shares.items()))

    def __str__(self) -> str:
        """Such as "50% for batches of 1 row and 50% for batches of 64 rows"."""
        return " and ".join(
            f"{share:.0%} for batches of {size} row{'s' * (size != 1)}" for size, share in sorted(self.shares.items())
        )


USUAL: Final = Batches({1: 0.5, 64: 0.5})
"""The default: a server's batches have from one row up to the rows that arrive during a run."""


def batches_of(text: str) -> Batches:
    """Parse batch sizes: "1,64,1024", or with shares "1:80,64:20". Raises BadArgument.

    Without shares all sizes have the same weight; shares need not add up to a hundred.
    """
    weights: dict[int, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]+)(?::([0-9]+(?:\.[0-9]+)?)%?)?", part.strip())
        if match is None:
            raise BadArgument(f"batches {text!r}: expected sizes such as 1,64 or sizes with shares such as 1:80,64:20")
        size = int(match[1])
        if not 1 <= size <= ROWS_MAX:
            raise BadArgument(f"batches {text!r}: a batch has 1 to {ROWS_MAX} rows, not {size}")
        if size in weights:
            raise BadArgument(f"batches {text!r}: {size} appears twice")
        weights[size] = float(match[2]) if match[2] else math.nan
    has_share = [not math.isnan(weight) for weight in weights.values()]
    if any(has_share) and not all(has_share):
        raise BadArgument(f"batches {text!r}: give every size a share, or none")
    if len(weights) > SIZES_MAX:
        raise BadArgument(f"batches {text!r}: at most {SIZES_MAX} sizes, not {len(weights)}")
    shares = weights if any(has_share) else dict.fromkeys(weights, 1.0)
    if not sum(shares.values()) > 0:
        raise BadArgument(f"batches {text!r}: no share is above zero")
    return Batches({size: share / sum(shares.values()) for size, share in shares.items() if share > 0})
