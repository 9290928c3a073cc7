"""NVIDIA's client for Triton over HTTP, unmodified: programs written for it work against this server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.server import serving

SCRIPT = Path(__file__).parent / "triton_http.py"
EXPECTED = np.linspace(-1, 1, 40, dtype=np.float32).reshape(2, 20).sum(axis=1)


@pytest.fixture(scope="module")
def report(small_models: Path) -> dict[str, Any]:
    """What the client's program printed."""
    with serving(small_models, http_port=0, allow_admin=True) as server:
        run = subprocess.run(
            [sys.executable, str(SCRIPT), f"127.0.0.1:{server.http_port}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    printed: dict[str, Any] = json.loads(run.stdout)
    return printed


def test_predictions_in_every_form_that_the_client_knows(report: dict[str, Any]) -> None:
    forms = [*report["scores"], report["all outputs"], *report["async"], report["asyncio"]]
    assert len(forms) == 12 + 1 + 20 + 1
    for scores in forms:
        np.testing.assert_allclose(scores, EXPECTED, rtol=1e-5)
    assert report["labels"] == [(EXPECTED > 0).astype(int).tolist()] * 12
    assert report["ids"] == ["7"]
    assert report["strings"] == [["é", "x"]] * 2


def test_what_the_client_asks_of_server_and_models(report: dict[str, Any]) -> None:
    assert report["live"] is report["ready"] is True
    assert report["model ready"] == [True, True]
    assert report["unknown model ready"] is False
    assert report["server"]["name"] == "skylane"
    assert report["model"]["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 20]}]
    assert report["config"]["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": [20]}]
    assert report["config"]["max_batch_size"] == 8192
    assert {"linear", "mixed", "touchy"} == {model["name"] for model in report["index"]}


def test_errors_reach_the_program(report: dict[str, Any]) -> None:
    assert report["unknown"] == [
        "404",
        "there is no model 'lienar': did you mean 'linear'? this server has linear, mixed and touchy",
    ]
    assert report["wrong"] == ["400", "tensor 'features': expected shape (any, 20), received (2, 19)"]
    assert report["version"] == ["404", "version 7 of model 'linear' is not loaded: loaded is 1"]


def test_models_are_unloaded_and_loaded(report: dict[str, Any]) -> None:
    *seen, score = report["reloaded"]
    assert seen == [False, "404", True]
    np.testing.assert_allclose(score, EXPECTED, rtol=1e-5)
