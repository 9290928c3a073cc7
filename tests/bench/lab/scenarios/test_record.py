"""Results of `skylane bench` on disk."""

import json
from collections.abc import Callable
from pathlib import Path

from skylane.bench.lab.record import load, save
from skylane.bench.lab.scenarios.record import ScenariosRun

SAMPLES = "looks"
"""The name of the server's usage in files: earlier results have it."""


def test_a_result_is_read_as_it_was_written(make_run: Callable[..., ScenariosRun], tmp_path: Path) -> None:
    run, path = make_run(), tmp_path / "new" / "run.json"
    save(run, path)
    assert load(path, ScenariosRun) == run
    assert SAMPLES in json.loads(path.read_bytes())["scenarios"][0]["rounds"][0]
