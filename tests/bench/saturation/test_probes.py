"""Growth of memory, and what a process tree has used."""

import os
import subprocess
import sys

import pytest

from skylane.bench import processes
from skylane.bench.saturation.probes import growth


@pytest.mark.parametrize(
    ("rss_mib", "expected"),
    [
        pytest.param([100.0] * 40, 0.0, id="flat"),
        pytest.param([50.0, 80.0, *[100.0] * 18], 0.0, id="what it takes to start is no growth"),
        pytest.param([100.0] * 10 + [110.0] * 10, 0.1, id="a tenth more"),
        pytest.param([100.0] * 19 + [500.0] + [100.0] * 20, 0.0, id="one reading does not matter"),
        pytest.param([100.0], 0.0, id="a single reading"),
    ],
)
def test_growth(rss_mib: list[float], expected: float) -> None:
    assert growth(rss_mib) == pytest.approx(expected)


def test_a_tree_counts_its_children() -> None:
    work = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
    command = [sys.executable, "-c", work + "print(p.pid, flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert set(processes.tree(parent.pid)) == {parent.pid, child}
        assert processes.rss_mib(parent.pid) > processes.rss_mib(child) > 0
        parent.communicate(b"\n")
    assert processes.rss_mib(parent.pid) == 0


def test_cpu_time_never_runs_back() -> None:
    before_s = processes.cpu_s(os.getpid())
    sum(range(10**6))
    assert processes.cpu_s(os.getpid()) >= before_s > 0
