"""What a scenario asks, in which mix, and when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.client.sending import REFUSED, Log
from skylane.bench.lab.measure.figures import Open, as_expected
from skylane.bench.lab.scenarios.plans import PLANS, scheduled
from skylane.bench.lab.scenarios.workload import SPECIAL_MAX, RequestSource
from skylane.bench.workload.rows import Mixed
from skylane.bench.workload.scenarios import SCENARIOS
from skylane.client.schema import Model, TensorSpec
from skylane.v1.prediction_pb2 import PredictRequest

OK = 200
COUNT = 3000
EXAMPLES = np.random.default_rng(1).normal(size=(8, 20)).astype(np.float32)


@pytest.fixture
def source() -> RequestSource:
    """Of a model of 20 numbers, beside two others."""
    model = Model("mine", 1, "classifier", (TensorSpec("x", "float32", (-1, 20)),))
    others = {name: Mixed({"x": EXAMPLES}) for name in ("other", "third")}
    return RequestSource(model, Mixed({"x": EXAMPLES}), 1, others, np.random.default_rng(2))


def requests(
    source: RequestSource, name: str
) -> tuple[list[PredictRequest], "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"]:
    """What is sent in turn, and the right status of each."""
    asked = source.workload(PLANS[name], COUNT)
    read = [PredictRequest.FromString(body[5:]) for body in asked.bodies]
    return [read[place] for place in asked.picks], asked.expected


def test_steady_requests_do_not_repeat(source: RequestSource) -> None:
    sent, expected = requests(source, "steady")
    assert len({request.SerializeToString() for request in sent}) == COUNT
    assert not expected.any()


def test_hot_keys_do(source: RequestSource) -> None:
    sent, _ = requests(source, "hot-keys")
    assert len({request.SerializeToString() for request in sent}) < COUNT / 2


def test_hot_keys_stay_the_same_from_round_to_round(source: RequestSource) -> None:
    first, second = (source.workload(PLANS["hot-keys"], 10).bodies for _ in range(2))
    assert first == second


def test_mixed_models_are_asked_in_turn(source: RequestSource) -> None:
    sent, _ = requests(source, "mixed-models")
    assert [request.model for request in sent[:4]] == ["mine", "other", "third", "mine"]


def test_one_in_fifty_is_large_and_not_judged(source: RequestSource) -> None:
    asked = source.workload(PLANS["slow-model"], COUNT)
    read = [PredictRequest.FromString(body[5:]).tensors[0].shape[0] for body in asked.bodies]
    rows = np.array([read[place] for place in asked.picks])
    assert set(rows.tolist()) == {1, 500}
    assert ((rows == 1) == asked.judged).all()
    assert 0.01 < (rows == 500).mean() < 0.03


def test_one_in_a_hundred_is_wrong_and_should_be_refused(source: RequestSource) -> None:
    asked = source.workload(PLANS["bad-input"], 100 * SPECIAL_MAX)
    wrong = asked.expected != 0
    assert 0.005 < wrong.mean() < 0.02
    assert set(asked.expected.tolist()) == {0, 3, 5}
    assert (wrong == ~asked.judged).all()


@given(
    name=st.sampled_from([name for name in SCENARIOS if name in PLANS]),
    rate=st.floats(5, 2000),
    seconds=st.floats(0.1, 2),
    seed=st.integers(0, 99),
)
def test_schedules_ascend_and_end_in_time(name: str, rate: float, seconds: float, seed: int) -> None:
    load = PLANS[name].load(rate, seconds, np.random.default_rng(seed))
    assert isinstance(load, Open)
    assert len(load.due_us) >= 1
    assert (np.diff(load.due_us) >= 0).all()
    assert 0 <= load.due_us[0] <= load.due_us[-1] <= seconds * 1e6


def test_the_rate_is_that_of_the_full_load() -> None:
    steady = scheduled(SCENARIOS["steady"].curve)(5000.0, 2.0, np.random.default_rng(1))
    ramp = scheduled(SCENARIOS["ramp"].curve)(5000.0, 2.0, np.random.default_rng(1))
    assert len(steady.due_us) == pytest.approx(10_000, rel=0.05)
    assert len(ramp.due_us) == pytest.approx(5000, rel=0.1)


@pytest.mark.parametrize(
    ("status", "expected", "found"),
    [
        pytest.param(OK, 0, OK, id="an answer"),
        pytest.param(3, 3, OK, id="a refusal that was asked for is the right answer"),
        pytest.param(5, 3, 5, id="another refusal is not"),
        pytest.param(OK, 3, 0, id="an answer to what is wrong is an error"),
        pytest.param(3, 0, 3, id="nobody asked for a refusal"),
        pytest.param(REFUSED, 3, REFUSED, id="too much to do: neither right nor wrong"),
    ],
)
def test_what_is_right(status: int, expected: int, found: int) -> None:
    log = Log(np.array([0]), np.array([status]), np.array([1]), 0.0)
    assert as_expected(log, np.array([expected])).status.tolist() == [found]
