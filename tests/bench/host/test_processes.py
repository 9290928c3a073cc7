"""What a process tree has used."""

import os
import subprocess
import sys

from skylane.bench.host import processes


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
