"""The oldest pandas that is supported: it reads text as objects with NaN, where pandas 3 has a type of its own.

It is put in front of what is installed, in a folder of its own, and the tests of gaps run with it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

OLDEST: Final = ("pandas==2.2.*", "pytz")
"""And what it needs beyond the newest."""

TESTS: Final = Path(__file__).parent / "verification" / "test_gaps.py"


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest pandas."""
    folder = tmp_path_factory.mktemp("pandas")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLDEST]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install {OLDEST[0]}: {' '.join(done.stderr.split())[-200:]}")
    return folder


@pytest.mark.slow
def test_gaps_with_the_oldest_pandas(oldest: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(oldest)}
    version = [sys.executable, "-c", "import pandas; print(pandas.__version__)"]
    assert subprocess.run(version, env=environment, capture_output=True, text=True).stdout.startswith("2.2.")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(tests, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
