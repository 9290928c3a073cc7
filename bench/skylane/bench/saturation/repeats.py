"""Inputs that repeat as they do in the world: few of them often, most rarely (Zipf's law). Is a cache worth it?"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from skylane.bench.draws import zipf
from skylane.bench.payloads import grpc_exchange
from skylane.bench.saturation.behaviours import SEED, Stage, sample, watched
from skylane.bench.saturation.results import OURS, Sample, Target
from skylane.bench.saturation.scenarios import Contender
from skylane.bench.sending import send

EXPONENTS: Final = (0.8, 1.0, 1.2)
INPUTS: Final = 100_000
"""Different rows; the cache has room for about a quarter of them (see skylane.bench.subjects.BOUNDED)."""
CONNECTIONS, STREAMS = 8, 8
REQUESTS_PER_S: Final = 20_000
"""About what our client sends: with the seconds of a round, how many requests it has."""
WARM_REQUESTS: Final = 60_000
"""Enough to fill the cache."""
KEPT: Final = f"{OURS}, cache on"


class Repeats:
    """See skylane.bench.saturation.behaviours.Behaviour."""

    baseline = OURS

    def __init__(self, trees: int, model: str) -> None:
        self.name = f"zipf-{trees}"
        self.title = (
            f"forest of {trees} trees, {INPUTS:,} inputs by Zipf's law of this exponent, a quarter in the cache"
        )
        self.contenders = (Contender(OURS, "native", model), Contender(KEPT, "native", f"{model}_bounded"))
        self.samples = len(EXPONENTS) * len(self.contenders)
        self.targets = tuple(
            Target(scenario=self.name, load=f"{exponent:g}", metric="cpu_us", ours=KEPT, theirs=OURS, at_most=1.0)
            for exponent in EXPONENTS
        )
        self._bodies: dict[str, list[bytes]] = {}

    def measure(self, stage: Stage, round_: int, tell: Callable[[Sample | str], None]) -> list[Sample]:
        """See Behaviour."""
        samples = []
        for exponent in EXPONENTS:
            for place in range(len(self.contenders)):
                contender = self.contenders[(place + round_) % len(self.contenders)]
                tell(f"{self.name} {exponent:g}, round {round_ + 1}: {contender.label}")
                samples.append(self._measure(stage, contender, exponent, round_))
                tell(samples[-1])
        return samples

    def _measure(self, stage: Stage, contender: Contender, exponent: float, round_: int) -> Sample:
        rng = np.random.default_rng((SEED, round_, round(exponent * 10)))
        order, bodies = stage.order(contender, 1, CONNECTIONS, STREAMS), self._bodies_of(stage, contender.model)
        stage.check(contender, 1)
        large = "large" in contender.model
        count = max(1000, round(stage.seconds * REQUESTS_PER_S / (4 if large else 1)))
        if contender.label.startswith(KEPT):
            warm = min(WARM_REQUESTS, 10 * count)
            send(order(zipf(exponent, INPUTS, warm, rng), bodies=bodies), stage.folder)
        picks = zipf(exponent, INPUTS, count, rng)
        log, did = watched(stage, contender, lambda: send(order(picks, bodies=bodies), stage.folder))
        return sample((self.name, f"{exponent:g}", contender.label, round_), log, log.wall_s, **did)

    def _bodies_of(self, stage: Stage, model: str) -> Sequence[bytes]:
        """Requests of one row each, no two alike; made once for each model."""
        if model not in self._bodies:
            subject = stage.subjects[model]
            ((name, rows),) = subject.rows(1000).items()
            noise = np.random.default_rng(SEED).standard_normal((INPUTS, rows.shape[1])).astype(np.float32)
            inputs = np.resize(rows, noise.shape) + noise
            body = bytearray(grpc_exchange(model, {name: inputs[:1]}, {}).body)
            at = body.index(inputs[:1].tobytes())
            before, after = bytes(body[:at]), bytes(body[at + inputs[:1].nbytes :])
            self._bodies[model] = [before + row.tobytes() + after for row in inputs]
        return self._bodies[model]
