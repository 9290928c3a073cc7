"""The requests of a scenario: new rows, rows that repeat, large requests, wrong ones, those to other models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.lab.scenarios.plans import LARGE_ROWS, Plan
from skylane.bench.workload.payloads import framed
from skylane.bench.workload.requests import Question, Requests
from skylane.bench.workload.rows import Rows, bodies
from skylane.bench.workload.scenarios import Kind
from skylane.bench.workload.wire import WAYS
from skylane.bench.workload.zipf import zipf
from skylane.client import Model

REPEATED: Final = 10_000
"""Different requests where they repeat."""
SPECIAL_MAX: Final = 200
"""Different requests that are large, or wrong; more are sent from the start again."""
PREDICT: Final = WAYS["predict"]


@dataclass(frozen=True)
class Workload:
    """Requests in the order in which they are sent."""

    bodies: list[bytes]
    """Different ones, framed."""
    picks: NDArray[np.int64]
    """For each request, which."""
    expected: NDArray[np.int64]
    """For each request, the status of gRPC that is the right answer: 0 but for those that are wrong on purpose."""
    judged: NDArray[np.bool_]
    """For each request, whether its latency counts: not that of large and of wrong ones."""


class RequestSource:
    """Makes requests, of one model and of the others of its server."""

    def __init__(
        self, model: Model, rows: Rows, rows_each: int, others: Mapping[str, Rows], rng: np.random.Generator
    ) -> None:
        """`others`: further models that may be asked."""
        self._model, self._rows, self._rows_each, self._others, self._rng = model, rows, rows_each, others, rng
        self._pool: list[bytes] = []
        self._spoiled: Requests | None = None

    def ordinary(self, requests: float) -> list[bytes]:
        """Requests whose rows are new, as many as that or as are kept."""
        return bodies(self._model.name, self._rows, ceil(requests), self._rows_each, self._rng)

    def workload(self, plan: Plan, count: int) -> Workload:
        """So many requests of a scenario's mix."""
        kinds = list(plan.mix)
        shares = np.array([plan.mix[kind] for kind in kinds])
        drawn = self._rng.choice(len(kinds), size=count, p=shares / shares.sum())
        known, picks = list[bytes](), np.zeros(count, np.int64)
        expected, judged = np.zeros(count, np.int64), np.ones(count, np.bool_)
        for place, kind in enumerate(kinds):
            chosen = drawn == place
            made, statuses, which = self._of(kind, plan.zipf, int(chosen.sum()))
            picks[chosen] = len(known) + which
            expected[chosen] = np.array(statuses, np.int64)[which] if statuses else 0
            judged[chosen] = kind in (Kind.USUAL, Kind.ANY)
            known += made
        return Workload(known, picks, expected, judged)

    def _of(self, kind: Kind, exponent: float, count: int) -> tuple[list[bytes], Sequence[int], NDArray[np.int64]]:
        """Requests of one kind, their right statuses if not all are OK, and which of them is sent when."""
        if not count:
            return [], (), np.zeros(0, np.int64)
        if kind is Kind.USUAL and exponent:
            self._pool = self._pool or self.ordinary(REPEATED)
            return self._pool, (), zipf(exponent, len(self._pool), count, self._rng)
        made: list[bytes]
        statuses: list[int] = []
        if kind is Kind.USUAL:
            made = self.ordinary(count)
        elif kind is Kind.ANY:
            made = self._of_any(count)
        elif kind is Kind.LARGE:
            made = bodies(self._model.name, self._rows, min(count, SPECIAL_MAX), LARGE_ROWS, self._rng)
        else:
            questions = self._wrong(min(count, SPECIAL_MAX))
            made = [framed(question.body) for question in questions]
            statuses = [int(question.expected.value[0]) for question in questions]
        return made, statuses, np.arange(count) % len(made)

    def _of_any(self, count: int) -> list[bytes]:
        """Requests to every model in turn."""
        every = {self._model.name: self._rows, **self._others}
        each = ceil(count / len(every))
        lists = [bodies(name, rows, each, self._rows_each, self._rng) for name, rows in every.items()]
        return [body for together in zip(*lists, strict=True) for body in together]

    def _wrong(self, count: int) -> list[Question]:
        if self._spoiled is None:
            self._spoiled = Requests(self._model, self._rows.take(SPECIAL_MAX, self._rng), 0.0, self._rng)
        return [self._spoiled.bad(PREDICT) for _ in range(count)]
