"""Every example model: an answer alone is the answer in any batch, within the tolerance that its version promises.

Real pipelines, converted and published as their authors do, behind the real engine and codec, with requests of all
sizes in any order, some of them cancelled. Trees and linear models are equal to the last few bits; int8 rounds its
activations by the whole batch, so digits is held to what its manifest allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import flights, small
from fakes import RecordingSink
from skylane.bench.fuzz.clock import Simulation
from skylane.convert import publish
from skylane.dtypes import NUMPY
from skylane.manifest import Manifest
from skylane.policy import Batching, Policy
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.core.errors import CallCancelled
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository.verified_loading import load_version
from skylane.v1.prediction_pb2 import PredictRequest, PredictResponse
from support.calls import Array, array_of, tensor

pytestmark = pytest.mark.slow

EXACT = 2e-6
"""Sums of float32 in another order differ in their last bits."""


@dataclass(frozen=True)
class Example:
    """A published model with rows to ask about."""

    manifest: Manifest
    model: LoadedModel
    rows: "pd.DataFrame | Array"

    def request(self, start: int, count: int) -> PredictRequest:
        """About these rows, counted round."""
        places = np.arange(start, start + count) % len(self.rows)
        if isinstance(self.rows, pd.DataFrame):
            chosen = self.rows.iloc[places]
            named: dict[str, Array] = {str(name): chosen[name].to_numpy() for name in chosen}
        else:
            named = {self.manifest.tensors[0].name: self.rows[places].astype(NUMPY[self.manifest.tensors[0].dtype])}
        kept = {name: each if each.dtype.kind in "iuf" else each.astype(object) for name, each in named.items()}
        return PredictRequest(model=self.manifest.model, tensors=[tensor(name, each) for name, each in kept.items()])

    def answers(
        self, requests: Sequence[PredictRequest], cancelled: Sequence[bool] = ()
    ) -> list[PredictResponse | None]:
        """What callers get whose requests arrive together; None for those who have gone."""
        simulation, sink = Simulation(), RecordingSink()
        engine = Engine(simulation, simulation.clock, RejectionCounter())
        policy = Policy(batching=Batching(max_batch_rows=16))
        dear = replace(self.model, cost=CostModel([(1, 1.0)]))  # so that it runs later, when all have arrived
        served_version = ServedVersion(dear, policy)
        engine.serve(Routes({self.manifest.model: ModelRoutes({1: served_version}, 1)}))
        calls = [Call(place, sink) for place in range(len(requests))]
        for request, call in zip(requests, calls, strict=True):
            engine.submit(RequestDecoder(RejectionCounter()).decode([call], [request.SerializeToString()], sink))
        for call, is_gone in zip(calls, cancelled, strict=False):
            call.cancelled = is_gone and not call.done
        simulation.play()
        got: dict[int, PredictResponse | None] = {}
        for call, result in sink.got:
            assert isinstance(result, bytes | CallCancelled)
            assert call.handle not in got, "answered twice"
            got[call.handle] = PredictResponse.FromString(result) if isinstance(result, bytes) else None
        return [got[place] for place in range(len(requests))]


@pytest.fixture(scope="module", params=["flights_late", *small.EXAMPLES])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Each example model, published."""
    name, root = request.param, Path(tmp_path_factory.mktemp("models"))
    if name == "flights_late":
        fitted, parts = flights.train_small()
        rows: pd.DataFrame | Array = parts.later.iloc[:400]
        published = publish(fitted, rows, name=name, repository=root, target=parts.later_late[:400])
    else:
        published = small.publish_example(name, root)
        rows = small.train(name).rows
    return Example(published.manifest, load_version(published.path, name, published.version, Policy()), rows)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 300), st.sampled_from([1, 1, 2, 3, 5, 16, 40])), min_size=1, max_size=12),
    cancelled=st.lists(st.booleans(), max_size=12),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_alone_is_the_answer_in_any_batch(
    example: Example, sizes: list[tuple[int, int]], cancelled: list[bool]
) -> None:
    requests = [example.request(start, count) for start, count in sizes]
    quantized = example.manifest.tolerance.preset == "quantized"
    tolerance = example.manifest.tolerance.max_difference if quantized else EXACT
    for place, reply in enumerate(example.answers(requests, cancelled)):
        if reply is None:
            assert cancelled[place]
            continue
        (alone,) = example.answers([requests[place]])
        assert alone is not None
        for output in example.manifest.outputs:
            one, many = array_of(alone, output.name), array_of(reply, output.name)
            assert one.shape == many.shape
            if one.dtype.kind == "f":
                np.testing.assert_allclose(many, one, rtol=tolerance, atol=tolerance)
            elif not quantized:
                np.testing.assert_array_equal(many, one)
