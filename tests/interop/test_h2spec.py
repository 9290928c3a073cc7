"""h2spec, unmodified: its whole suite of RFC 9113's and RFC 7541's rules, against the native transport.

It is no part of the project's files: `go install github.com/summerwind/h2spec/cmd/h2spec@latest` gets it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from skylane.server.codecs.skylane_v1.requests import PREDICT
from support.server import serving

GO_PROGRAMS = Path(os.environ.get("GOPATH", Path.home() / "go")) / "bin"
PROGRAM = shutil.which("h2spec") or shutil.which("h2spec", path=GO_PROGRAMS)


@pytest.mark.skipif(
    PROGRAM is None,
    reason="h2spec is not on the path: go install github.com/summerwind/h2spec/cmd/h2spec@latest",
)
def test_every_rule_is_kept(small_models: Path) -> None:
    assert PROGRAM is not None
    with serving(small_models, "native") as server:
        host, port = server.address.rsplit(":", 1)
        run = subprocess.run(
            [PROGRAM, "-h", host, "-p", port, "-P", PREDICT, "-o", "10"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    counted = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", run.stdout)
    assert counted is not None, run.stdout + run.stderr
    tests, passed, skipped, failed = map(int, counted.groups())
    assert (skipped, failed) == (0, 0), run.stdout[run.stdout.find("Failures:") :]
    assert passed == tests > 140
