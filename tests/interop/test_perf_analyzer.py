"""NVIDIA's perf_analyzer, unmodified: it asks for metadata, configuration and statistics, and believes them.

It is no part of the project's files: `make interop` says how to get it.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.server import serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

PROGRAM = shutil.which("perf_analyzer")


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="perf_analyzer is not on the path; `make interop` says how to get it")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param((), id="one call after the other"),
        pytest.param(("--async", "--streaming"), id="over a stream"),
        pytest.param(
            ("--service-kind", "tfserving", "--model-signature-name", "serving_default"), id="as TensorFlow's"
        ),
    ],
)
def test_it_measures_this_server(small_models: Path, transport: "Transport", way: tuple[str, ...]) -> None:
    assert PROGRAM is not None
    shape = ("--shape", "features:20", "-b", "1", "--concurrency-range", "4:4")
    counted = ("--measurement-mode", "count_windows", "--measurement-request-count", "50", "-s", "99", "-r", "3")
    with serving(small_models, transport) as server:
        run = subprocess.run(
            [PROGRAM, "-m", "linear", "-i", "grpc", "-u", server.address, *shape, *counted, *way],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {name: int(count) for name, count in re.findall(r"(Request|Inference) count: (\d+)", run.stdout)}
    assert counts["Request"] >= 50
    if "tfserving" not in way:  # whose protocol has no statistics
        assert counts["Inference"] >= counts["Request"]
