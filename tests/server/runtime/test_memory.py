"""What a session takes, against graphs whose weights are known."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Session
from skylane.server.core.types import Interface
from skylane.server.runtime import memory
from skylane.server.runtime.session import OnnxSession
from support import models

WIDTHS = (1 << 18, 1 << 20, 1 << 22)
"""Weights of four bytes each: 1, 4 and 16 MiB."""

needs_glibc = pytest.mark.skipif(memory.allocated_bytes() == memory.UNKNOWN, reason="needs glibc from 2.33 on")


def session_of(weights: int) -> OnnxSession:
    """Of a graph that multiplies by so many weights."""
    tensor = TensorSpec(name="x", dtype="float32", shape=(None, 1))
    output = OutputSpec(name="y", dtype="float32", shape=(None, weights))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    constant: dict[str, np.ndarray[Any, Any]] = {"w": np.ones((1, weights), np.float32)}
    made = models.graph([node], [tensor], [output], constant)
    return OnnxSession(made, Interface("m", 1, (tensor,), (), (output,)), Session())


@needs_glibc
def test_it_grows_as_the_weights_do_and_is_given_back() -> None:
    session_of(1)  # so that what is taken once is taken already
    for weights in WIDTHS:
        gc.collect()
        before = memory.allocated_bytes()
        session: OnnxSession | None = session_of(weights)
        assert session is not None
        assert 4 * weights <= session.memory_bytes <= 8 * weights + 2**20
        session = None
        assert abs(memory.allocated_bytes() - before) < 2**20


@needs_glibc
def test_the_first_session_of_a_process_is_not_told_of_as_what_is_taken_once() -> None:
    script = "from test_memory import session_of; print(*(session_of(1).memory_bytes for _ in range(2)))"
    command, there = [sys.executable, "-c", script], Path(__file__).parent
    path = os.pathsep.join([str(there), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert max(map(int, done.stdout.split())) < 2**18, done.stderr


@needs_glibc
def test_a_second_session_takes_as_much_although_the_process_grows_by_nothing() -> None:
    """As a version does that loads into what the one before left."""
    first = session_of(1 << 20).memory_bytes
    assert session_of(1 << 20).memory_bytes == pytest.approx(first, rel=0.05)


@needs_glibc
def test_less_than_nothing_is_not_known() -> None:
    assert memory.taken_since(memory.allocated_bytes() + 2**40) == memory.UNKNOWN
