"""NVIDIA's client for Triton over gRPC, unmodified: programs written for it work against this server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.server import serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

SCRIPT = Path(__file__).parent / "triton_grpc.py"
EXPECTED = np.linspace(-1, 1, 40, dtype=np.float32).reshape(2, 20).sum(axis=1)


@pytest.fixture(scope="module")
def report(small_models: Path, transport: "Transport") -> dict[str, Any]:
    """What the client's program printed."""
    with serving(small_models, transport, allow_admin=True) as server:
        run = subprocess.run(
            [sys.executable, str(SCRIPT), server.address], capture_output=True, text=True, timeout=120, check=False
        )
    assert run.returncode == 0, run.stderr
    printed: dict[str, Any] = json.loads(run.stdout)
    return printed


def test_predictions_in_every_form_that_the_client_knows(report: dict[str, Any]) -> None:
    forms = [*report["scores"], *report["async"], report["compressed"], report["asyncio"], *report["stream"].values()]
    assert len(forms) == 3 + 20 + 1 + 1 + 10
    for scores in forms:
        np.testing.assert_allclose(scores, EXPECTED, rtol=1e-5)
    assert set(report["stream"]) == {str(place) for place in range(10)}
    assert report["labels"] == (EXPECTED > 0).astype(int).tolist()
    assert report["id"] == "7"
    assert report["strings"] == ["é", "x"]


def test_what_the_client_asks_of_server_and_models(report: dict[str, Any]) -> None:
    assert report["live"] is report["ready"] is report["model ready"] is True
    assert report["absent model ready"] is report["absent version ready"] is False
    assert report["server"]["name"] == "skylane"
    assert report["model"]["inputs"] == [{"name": "features", "datatype": "FP32", "shape": ["-1", "20"]}]
    assert report["config"]["config"]["max_batch_size"] == 8192
    assert report["config"]["config"]["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": ["20"]}]
    assert {"linear", "mixed", "touchy"} == {model["name"] for model in report["index"]["models"]}
    (told,) = report["statistics"]["model_stats"]
    assert int(told["inference_count"]) == 2 * (3 + 20 + 1 + 1 + 10 + 20)
    assert int(told["inference_stats"]["success"]["count"]) == 3 + 20 + 1 + 1 + 10 + 20


def test_errors_reach_the_program(report: dict[str, Any]) -> None:
    assert report["unknown"] == [
        "StatusCode.NOT_FOUND",
        "there is no model 'lienar': did you mean 'linear'? this server has linear, mixed and touchy",
    ]
    assert report["wrong"] == [
        "StatusCode.INVALID_ARGUMENT",
        "tensor 'features': expected shape (any, 20), received (2, 19)",
    ]


def test_models_are_unloaded_and_loaded(report: dict[str, Any]) -> None:
    *seen, score = report["reloaded"]
    assert seen == [False, "StatusCode.NOT_FOUND", True]
    np.testing.assert_allclose(score, EXPECTED, rtol=1e-5)
