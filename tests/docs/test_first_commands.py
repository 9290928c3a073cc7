"""The commands at the top of a page run as they stand, one after the other, in an empty directory."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS_MAX: Final = 6


@pytest.mark.slow
@pytest.mark.parametrize("page", ["batch.md", "features.md"])
def test_the_first_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    block = BLOCK.search((ROOT / "docs" / page).read_text())
    assert block, "a page begins with commands"
    commands = [line for line in block[1].splitlines() if line.strip() and not line.startswith("#")]
    assert 0 < len(commands) <= COMMANDS_MAX
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    for command in commands:
        run = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
