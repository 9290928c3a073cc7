"""What is asked: rows of real flights where the model takes them, else rows mixed from the manifest's examples; and
requests that are wrong on purpose, with the status that is the right answer to each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray

from bench.draws import zipf
from bench.lab.rows import Mixed, examples, tensors_of
from bench.load.wire import Tensors, Way
from bench.payloads import Array
from skylane.client import Model

try:
    from examples.flight_rows import FEATURES, example_rows
except ImportError:  # pandas comes with the extra `convert`
    example_rows = None  # type: ignore[assignment]

ROWS: Final = 10_000
"""Different rows to draw from."""
DRAWN_TOGETHER: Final = 4096
NO_MODEL: Final = "a_model_that_nobody_published"


@dataclass(frozen=True)
class Question:
    """One request, ready to be sent."""

    name: str
    """Under which it is counted."""
    model: str
    body: bytes
    expected: StatusCode = StatusCode.OK
    judged: bool = True
    """Whether its latency is held against a threshold."""


def rows_of(model: Model, rng: np.random.Generator) -> Tensors:
    """Rows that fit the model: tensor → (ROWS, …). Raises Unsuitable if nothing is known that would.

    Reading the flights takes about two seconds.
    """
    flights = _flights(model)
    return flights if flights is not None else Mixed(examples(model)).take(ROWS, rng)


def _flights(model: Model) -> Tensors | None:
    if example_rows is None or {column.name for column in model.columns} != set(FEATURES):
        return None
    frame = example_rows(ROWS)
    columns = {name: [None if value != value else value for value in frame[name].tolist()] for name in FEATURES}
    return tensors_of(columns, model)


class Requests:
    """Draws requests for one model."""

    def __init__(self, schema: Model, rows: Tensors, exponent: float, rng: np.random.Generator) -> None:
        """`exponent`: of Zipf's law; 0 draws all rows equally often."""
        self.schema, self._rows, self._exponent, self._rng = schema, rows, exponent, rng
        self._count = len(next(iter(rows.values())))
        self._drawn: list[int] = []
        self._bodies: dict[tuple[str, int], bytes] = {}

    def usual(self, way: Way) -> Question:
        """A row, which may have been asked before."""
        key = way.name, self._draw()
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = way.encode(self.schema, self.schema.name, self._take(key[1], 1))
        return Question(self.schema.name, self.schema.name, body)

    def large(self, way: Way, rows: int) -> Question:
        """So many rows at once, which do not repeat."""
        body = way.encode(self.schema, self.schema.name, self._take(int(self._rng.integers(self._count)), rows))
        return Question(f"{self.schema.name}, {rows:,} rows", self.schema.name, body, judged=False)

    def bad(self, way: Way) -> Question:
        """A request that is wrong in one of some ways."""
        what, spoil = BAD[int(self._rng.integers(len(BAD)))]
        name = NO_MODEL if spoil is None else self.schema.name
        rows = self._take(self._draw(), 1)
        body = way.encode(self.schema, name, rows if spoil is None else spoil(rows))
        expected = StatusCode.INVALID_ARGUMENT if spoil else StatusCode.NOT_FOUND
        return Question(f"{self.schema.name}, wrong: {what}", name, body, expected, judged=False)

    def _draw(self) -> int:
        if not self._drawn:
            rng, count = self._rng, self._count
            places: NDArray[np.int64] = (
                zipf(self._exponent, count, DRAWN_TOGETHER, rng)
                if self._exponent
                else rng.integers(count, size=DRAWN_TOGETHER)
            )
            self._drawn = places.tolist()
        return self._drawn.pop()

    def _take(self, first: int, rows: int) -> Tensors:
        places = (first + np.arange(rows)) % self._count
        return {name: array[places] for name, array in self._rows.items()}


def _too_wide(rows: Tensors) -> Tensors:
    name, array = next(iter(rows.items()))
    return {**rows, name: np.concatenate([array, array], axis=1)}


def _misnamed(rows: Tensors) -> Tensors:
    return {f"{name}_": array for name, array in rows.items()}


def _mistyped(rows: Tensors) -> Tensors:
    return {name: _other_type(array) for name, array in rows.items()}


def _other_type(array: Array) -> Array:
    if array.dtype == object:
        return np.zeros(array.shape, np.float32)
    return np.full(array.shape, "text", object)


BAD: Final[Sequence[tuple[str, Callable[[Tensors], Tensors] | None]]] = (
    ("shape", _too_wide),
    ("name", _misnamed),
    ("type", _mistyped),
    ("no such model", None),
)


class Requester:
    """Draws requests of a scenario's mix."""

    def __init__(self, kinds: Mapping[str, float], makers: Mapping[str, Callable[[Way], Question]], seed: int) -> None:
        """Kind → its share, and kind → who makes it."""
        self._makers = [makers[kind] for kind in kinds]
        self._upto = np.cumsum(list(kinds.values())) / sum(kinds.values())
        self._rng = np.random.default_rng(seed)

    def draw(self, way: Way) -> Question:
        """The next request."""
        if len(self._makers) == 1:
            return self._makers[0](way)
        return self._makers[int(np.searchsorted(self._upto, self._rng.random(), side="right"))](way)
