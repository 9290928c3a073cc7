"""Timing, on a clock that the test moves."""

from collections.abc import Mapping

import numpy as np

from skylane.convert.inspection.schema import Array
from skylane.convert.verification.timing import latencies


class Machine:
    """A clock, and graphs that take time on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[tuple[float, ...]] = []

    def clock(self) -> float:
        return self.now

    def slow(self, inputs: Mapping[str, Array]) -> None:
        self.seen.append(tuple(inputs["x"][:, 0].tolist()))
        self.now += 30e-6 * len(inputs["x"])

    def fast(self, inputs: Mapping[str, Array]) -> None:
        self.now += 10e-6


def test_each_candidate_gets_its_own_median() -> None:
    machine, rows = Machine(), {"x": np.arange(100, dtype=np.float32).reshape(-1, 1)}
    found = latencies([(machine.slow, rows), (machine.fast, rows)], sizes=(1, 4), clock=machine.clock)
    assert found == [{"1": 30.0, "4": 120.0}, {"1": 10.0, "4": 10.0}]


def test_a_busy_moment_of_the_machine_is_not_held_against_anybody() -> None:
    machine, rows = Machine(), {"x": np.zeros((1, 1), np.float32)}

    def disturbed(inputs: Mapping[str, Array]) -> None:
        """Ten times slower in the first quarter of the measurement, where it runs beside something else."""
        machine.fast(inputs)
        machine.now += 90e-6 * (5e-3 < machine.now < 40e-3)

    found = latencies([(disturbed, rows), (disturbed, rows)], sizes=(1,), clock=machine.clock)
    assert found == [{"1": 10.0}, {"1": 10.0}]


def test_rows_rotate_and_few_rows_are_repeated() -> None:
    """The same row again and again would train the branch predictor, and a forest would look 2.2 times faster."""
    machine, rows = Machine(), {"x": np.arange(3, dtype=np.float32).reshape(-1, 1)}
    latencies([(machine.slow, rows)], sizes=(1, 5), clock=machine.clock)
    assert {(0.0,), (1.0,), (2.0,), (0.0, 1.0, 2.0, 0.0, 1.0)} == set(machine.seen)


def test_slow_graphs_are_timed_in_fewer_rounds() -> None:
    """A graph of three seconds must not hold its author up for minutes; fast ones are timed in full."""
    machine, rows = Machine(), {"x": np.zeros((1, 1), np.float32)}

    def minutes(_: Mapping[str, Array]) -> None:
        machine.now += 3.0

    found = latencies([(minutes, rows), (machine.fast, rows)], sizes=(1,), clock=machine.clock)
    assert found == [{"1": 3e6}, {"1": 10.0}]
    assert machine.now < 30
    began = machine.now
    latencies([(machine.fast, rows)], sizes=(1,), clock=machine.clock)
    assert machine.now - began > 15 * 0.002 * 0.9
