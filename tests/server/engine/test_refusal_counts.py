"""Calls of one group that fail for different reasons: each hears its own once, and is counted under it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from fakes import RecordingSink
from skylane.bench.fuzz.clock import Simulation
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Batching, Policy
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from support.calls import ask

RIGHT, WRONG = 1.0, float("nan")


class Same:
    """Its output is its input."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See Runner."""
        return inputs


def version_taking(rows: int) -> ServedVersion:
    """A model that takes no NaN, with at most so many rows in a request."""
    interface = Interface(
        "m",
        1,
        (TensorSpec(name="x", dtype="float32", shape=(None, 1), no_nan=(0,)),),
        (),
        (OutputSpec(name="y", dtype="float32", shape=(None, 1)),),
    )
    model = LoadedModel(interface=interface, runner=Same(), cost=CostModel([(1, 1e-6)]), empty=())
    return ServedVersion(model, Policy(batching=Batching(max_request_rows=rows)))


@pytest.mark.parametrize(
    ("values", "output", "rows_max", "expected"),
    [
        pytest.param(
            [WRONG, RIGHT, WRONG, RIGHT, RIGHT],
            "y",
            1,
            ["InputMismatch", "TooManyRows", "InputMismatch", "TooManyRows", "TooManyRows"],
            id="wrong values beside too many rows",
        ),
        pytest.param([WRONG, RIGHT], "y", 2, ["InputMismatch", "bytes"], id="wrong values beside right ones"),
        pytest.param([WRONG, WRONG], "y", 1, ["InputMismatch"] * 2, id="wrong values alone"),
        pytest.param([WRONG, RIGHT], "z", 1, ["InputMismatch"] * 2, id="wrong values beside an unknown output"),
        pytest.param([RIGHT, RIGHT], "y", 1, ["TooManyRows"] * 2, id="too many rows alone"),
    ],
)
def test_each_refusal_is_heard_once_and_counted_as_what_it_is(
    values: list[float], output: str, rows_max: int, expected: list[str]
) -> None:
    sim, sink, rejections, served_version = Simulation(), RecordingSink(), RejectionCounter(), version_taking(rows_max)
    engine, decoder = Engine(sim, sim.clock, rejections), RequestDecoder(rejections)
    engine.serve(Routes({"m": ModelRoutes({1: served_version}, 1)}))
    payloads = [
        ask("m", outputs=[output], x=np.full((2, 1), each, np.float32)).SerializeToString() for each in [RIGHT, *values]
    ]
    assert decoder.decode([Call("learned from", sink)], payloads[:1], sink)
    calls = [Call(place, sink) for place in range(len(values))]
    (group,) = decoder.decode(calls, payloads[1:], sink)
    engine.submit([group])
    heard = {call.handle: type(result).__name__ for call, result in sink.got}
    assert [heard[place] for place in range(len(values))] == expected
    assert len(sink.got) == len(values)
    assert served_version.statistics.failures == Counter(each for each in expected if each != "bytes")
    assert rejections.counted() == {}


def test_what_a_version_that_is_replaced_meanwhile_would_refuse_is_heard_once() -> None:
    sim, sink, old, new = Simulation(), RecordingSink(), version_taking(2), version_taking(2)
    decoder = RequestDecoder(RejectionCounter())

    def replaced() -> float:
        """The engine reads its clock after it has chosen a version, and before it queues there."""
        engine.serve(Routes({"m": ModelRoutes({1: new}, 1)}))
        return sim.now

    engine = Engine(sim, replaced, RejectionCounter())
    engine.serve(Routes({"m": ModelRoutes({1: old}, 1)}))
    payloads = [ask("m", x=np.full((2, 1), each, np.float32)).SerializeToString() for each in (RIGHT, WRONG, RIGHT)]
    assert decoder.decode([Call("learned from", sink)], payloads[:1], sink)
    (group,) = decoder.decode([Call("wrong", sink), Call("right", sink)], payloads[1:], sink)
    engine.submit([group])
    assert sorted((call.handle, type(result).__name__) for call, result in sink.got) == [
        ("right", "bytes"),
        ("wrong", "InputMismatch"),
    ]
    assert (old.statistics.failures, new.statistics.failures) == (Counter(), Counter({"InputMismatch": 1}))
