"""What is asked: rows of real flights where the model takes them, else rows mixed from the manifest's examples; and
requests that are wrong on purpose, with the status that is the right answer to each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray

from skylane.bench.workload.payloads import Array
from skylane.bench.workload.rows import Mixed, examples, tensors_of
from skylane.bench.workload.wire import Tensors, Way
from skylane.bench.workload.zipf import zipf
from skylane.client import Model

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


def aside(name: str, what: str) -> str:
    """The name of requests that are counted apart from a model's usual ones."""
    return f"{name}, {what}"


def judged(name: str) -> bool:
    """Whether latency under this name is held against a threshold: that of a model's usual requests, unless refused."""
    return "," not in name  # which no model's name has


def rows_of(model: Model, rng: np.random.Generator) -> Tensors:
    """Rows that fit the model: tensor → (ROWS, …). Raises Unsuitable if nothing is known that would.

    Reading the flights takes about two seconds.
    """
    flights = _flights(model)
    return flights if flights is not None else Mixed(examples(model)).take(ROWS, rng)


def _flights(model: Model) -> Tensors | None:
    names = {column.name for column in model.columns}
    if "carrier" not in names:
        return None
    try:  # here, since pandas takes a quarter of a second, and is not there without the extra `convert`
        from examples.flight_rows import FEATURES, example_rows
    except ImportError:
        return None
    if names != set(FEATURES):
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
        return Question(aside(self.schema.name, f"{rows} rows"), self.schema.name, body)

    def bad(self, way: Way) -> Question:
        """A request that is wrong in one of some ways."""
        return self.wrong(way, WRONG[int(self._rng.integers(len(WRONG)))])

    def wrong(self, way: Way, wrong: "Wrong") -> Question:
        """A request that is wrong in this way."""
        name = wrong.model or self.schema.name
        body = way.encode(self.schema, name, wrong.spoil(self._take(self._draw(), 1)))
        if wrong.cut:
            body = body[:-1]  # what is last is a field of protobuf with its length, or a bracket
        return Question(aside(self.schema.name, f"wrong: {wrong.what}"), name, body, wrong.expected)

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


def _as_it_is(rows: Tensors) -> Tensors:
    return rows


def _too_wide(rows: Tensors) -> Tensors:
    name, array = next(iter(rows.items()))
    return {**rows, name: np.concatenate([array, array], axis=1)}


def _misnamed(rows: Tensors) -> Tensors:
    return {f"{name}_": array for name, array in rows.items()}


def _incomplete(rows: Tensors) -> Tensors:
    """Without the last tensor, or of a single one without its last column."""
    *others, (name, array) = rows.items()
    return dict(others) if others else {name: array[:, :-1]}


def _mistyped(rows: Tensors) -> Tensors:
    return {name: _other_type(array) for name, array in rows.items()}


def _other_type(array: Array) -> Array:
    if array.dtype == object:
        return np.zeros(array.shape, np.float32)
    return np.full(array.shape, "text", object)


@dataclass(frozen=True)
class Wrong:
    """One way to be wrong."""

    what: str
    spoil: Callable[[Tensors], Tensors] = _as_it_is
    cut: bool = False
    """The bytes end too early."""
    model: str | None = None
    """Asked for, instead of the right one."""
    expected: StatusCode = StatusCode.INVALID_ARGUMENT


WRONG: Final[Sequence[Wrong]] = (
    Wrong("shape", _too_wide),
    Wrong("unknown name", _misnamed),
    Wrong("incomplete", _incomplete),
    Wrong("type", _mistyped),
    Wrong("cut off", cut=True),
    Wrong("no such model", model=NO_MODEL, expected=StatusCode.NOT_FOUND),
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
