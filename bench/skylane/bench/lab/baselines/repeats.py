"""Inputs that repeat as they do in the world: few of them often, most rarely (Zipf's law). Is a cache worth it?"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from skylane.bench.client.sending import Order, send
from skylane.bench.lab.baselines.contestants import Contestant
from skylane.bench.lab.baselines.record import OURS, Sample, Target, sample_of
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import SEED, LongScenario, Report
from skylane.bench.lab.measure.figures import CONNECTIONS, STREAMS, Closed
from skylane.bench.lab.measure.measurement import measure
from skylane.bench.lab.measure.rounds import turned
from skylane.bench.workload.payloads import grpc_exchange
from skylane.bench.workload.zipf import zipf

EXPONENTS: Final = (0.8, 1.0, 1.2)
INPUTS: Final = 100_000
"""Different rows; the cache has room for about a quarter of them (see skylane.bench.workload.models.BOUNDED)."""
REQUESTS_PER_S: Final = 20_000
"""About what our client sends: with the seconds of a round, how many requests it has."""
WARM_REQUESTS: Final = 60_000
"""Enough to fill the cache."""
CACHED: Final = f"{OURS}, cache on"


class Repeats(LongScenario):
    """See the module. It takes too long for --quick."""

    baseline = OURS
    quick = False

    def __init__(self, trees: int, model: str) -> None:
        self.name = f"zipf-{trees}"
        self.title = (
            f"forest of {trees} trees, {INPUTS:,} inputs by Zipf's law of this exponent, a quarter in the cache"
        )
        self.contestants = (Contestant(OURS, "native", model), Contestant(CACHED, "native", f"{model}_bounded"))
        self.targets = tuple(
            Target(scenario=self.name, load=f"{exponent:g}", metric="cpu_us", ours=CACHED, theirs=OURS, at_most=1.0)
            for exponent in EXPONENTS
        )
        self._bodies: dict[str, list[bytes]] = {}

    def samples_per_round(self) -> int:
        return len(EXPONENTS) * len(self.contestants)

    def round(self, rig: Rig, seconds: float, round_: int, report: Report) -> Iterator[Sample]:
        for exponent in EXPONENTS:
            for contestant in turned(self.contestants, round_):
                report(f"{self.name} {exponent:g}, round {round_ + 1}: {contestant.label}")
                yield self._measure(rig, seconds, contestant, exponent, round_)

    def _measure(self, rig: Rig, seconds: float, contestant: Contestant, exponent: float, round_: int) -> Sample:
        rng = np.random.default_rng((SEED, round_, round(exponent * 10)))
        endpoint, bodies = rig.endpoint(contestant), self._bodies_of(rig, contestant.model)
        rig.check(contestant, 1)
        count = max(1000, round(seconds * REQUESTS_PER_S / (4 if "large" in contestant.model else 1)))
        load = Closed(seconds=seconds)
        if contestant.label == CACHED:
            warm = zipf(exponent, INPUTS, min(WARM_REQUESTS, 10 * count), rng)
            order = Order(
                address=endpoint.address, bodies=bodies, connections=CONNECTIONS, streams=STREAMS, picks=warm
            )  # fmt: skip
            send(order, rig.folder)
        measured = measure(endpoint, bodies, load, rig.folder, picks=zipf(exponent, INPUTS, count, rng))
        return sample_of((self.name, f"{exponent:g}", contestant.label, round_), measured)

    def _bodies_of(self, rig: Rig, model: str) -> Sequence[bytes]:
        """Requests of one row each, no two alike; made once for each model."""
        if model not in self._bodies:
            ((name, rows),) = rig.models[model].rows(1000).items()
            noise = np.random.default_rng(SEED).standard_normal((INPUTS, rows.shape[1])).astype(rows.dtype)
            inputs = np.resize(rows, noise.shape) + noise
            body = bytearray(grpc_exchange(model, {name: inputs[:1]}, {}).body)
            at = body.index(inputs[:1].tobytes())
            before, after = bytes(body[:at]), bytes(body[at + inputs[:1].nbytes :])
            self._bodies[model] = [before + row.tobytes() + after for row in inputs]
        return self._bodies[model]
