"""Engine: faults that no seed of the simulation draws. The rest of it is in tests/simulation and tests/laws."""

from collections.abc import Hashable, Sequence

import numpy as np

from fakes import PlainBlock, RecordingSink
from skylane.bench.fuzz.clock import Simulation
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Cache, Policy
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import ModelFailed
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface, Route
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion

UNENCODABLE = "an answer that cannot be encoded"


class Twice:
    """Doubles its input; what it gives for 13 no codec can encode."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See Runner."""
        return [inputs[0] * 2]


class NumberBlock(PlainBlock):
    """A row of one number for each call."""

    def __init__(self, calls: list[Call], rows_each: int = 1, keys: Sequence[Hashable] = ()) -> None:
        super().__init__(calls, rows_each, keys or [call.handle for call in calls])

    def arrays(self) -> Sequence[Array]:
        """See Block."""
        return [np.array([call.handle for call in self.calls])]

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        """See Block."""
        if 26 in outputs[0]:
            raise ValueError(UNENCODABLE)
        return [b"%d" % number for number in outputs[0]]


class NumberAsk(RequestGroup):
    """Calls whose handle is their number."""

    def bind(self, interface: Interface) -> Bound:
        """See RequestGroup."""
        return NumberBlock(self.calls), ()


def test_an_answer_that_cannot_be_encoded_fails_its_own_callers_and_leaves_nothing_behind() -> None:
    sim, sink = Simulation(), RecordingSink()
    engine = Engine(sim, sim.clock, RejectionCounter())
    interface = Interface(
        "m",
        1,
        (TensorSpec(name="x", dtype="int64", shape=(None,)),),
        (),
        (OutputSpec(name="y", dtype="int64", shape=(None,)),),
    )
    model = LoadedModel(interface=interface, runner=Twice(), cost=CostModel([(1, 1e-6)]), empty=())
    served_version = ServedVersion(model, Policy(cache=Cache(enabled=True)))
    engine.serve(Routes({"m": ModelRoutes({1: served_version}, 1)}))
    for _ in range(2):  # the second time nobody may follow a leader that is no more
        sink.got.clear()
        engine.submit([NumberAsk(Route("m"), [Call(number, sink) for number in (1, 13, 2, 13)], sink)])
        told = {(call.handle, result if isinstance(result, bytes) else str(result)) for call, result in sink.got}
        assert told - {(1, b"2 (cached)"), (2, b"4 (cached)")} <= {
            (1, b"2"),
            (2, b"4"),
            (13, f"the model failed on these rows: {UNENCODABLE}"),
        }
        assert sorted(call.handle for call, _ in sink.got) == [1, 2, 13, 13]
        assert [type(result) for call, result in sink.got if call.handle == 13] == [ModelFailed, ModelFailed]
        assert engine.idle
