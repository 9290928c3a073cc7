"""Standard streams that whoever started the process has closed."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from skylane.server.host import standard_streams
standard_streams.ensure_open()
names = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
with open(os.environ["REPORT"], "w") as report:
    free = os.open(os.devnull, os.O_RDONLY)
    print(names, free > 2, [os.get_inheritable(number) for number in range(3)], file=report)
print("out")
print("error", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "closed", [[], [0], [1], [2], [1, 2], [0, 1, 2]], ids=lambda closed: f"closed {closed or 'nothing'}"
)
def test_no_file_gets_the_number_of_a_standard_stream(tmp_path: os.PathLike[str], closed: list[int]) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", SCRIPT]
    report = os.path.join(tmp_path, "report")
    ended = subprocess.run(command, env=os.environ | {"REPORT": report}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    with open(report) as lines:
        assert lines.read() == "[] True [True, True, True]\n"
    assert ended.stdout == ("" if 1 in closed else "out\n")
    assert ended.stderr == ("" if 2 in closed else "error\n")
