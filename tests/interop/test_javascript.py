"""A client in JavaScript, with Google's own gRPC for Node, that learns the contract from the server by reflection."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow

ROWS = [[0.5] * 20, [-1.25] * 20]
SCENARIO = {
    "tensor": {"model": "linear", "name": "features", "rows": ROWS},
    "columns": {
        "model": "mixed",
        "values": {"a": [1.5, 2.5], "b": [None, 3.0], "s": ["é", "y"], "t": ["x", "y"]},
    },
    "wrong": {"model": "linear", "name": "nope", "rows": ROWS},
}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this folder with its npm packages, as package-lock.json names them. Skips if they cannot be had."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    folder = tmp_path_factory.mktemp("interop")
    for name in ("package.json", "package-lock.json", "client.js", "reflection.proto"):
        shutil.copy(HERE / name, folder)
    # The only install script is protobufjs's advice about version numbers.
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if installed.returncode:
        pytest.skip(f"npm could not install the packages: {installed.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture
def report(packages: Path, server_address: str) -> dict[str, Any]:
    """What the client printed."""
    run = subprocess.run(
        ["node", "client.js", server_address],
        input=json.dumps(SCENARIO),
        cwd=packages,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed: dict[str, Any] = json.loads(run.stdout)
    return printed


def test_a_client_in_another_language(report: dict[str, Any]) -> None:
    assert {"grpc.health.v1.Health", "skylane.v1.ModelService", "skylane.v1.PredictionService"} <= set(
        report["services"]
    )
    assert report["health"] == "SERVING"
    assert {"linear", "mixed"} <= set(report["models"])
    assert report["described"] == ["a", "s", "b", "t"]

    linear = report["tensor"]
    assert (linear["model"], linear["version"], linear["request_id"]) == ("linear", 1, "one")
    assert linear["outputs"]["score"] == {"shape": [2, 1], "values": [10.0, -25.0]}
    assert linear["outputs"]["label"] == {"shape": [2], "values": [1, 0]}

    assert report["inferred"] == {"id": "7", "listed": [10.0, -25.0], "raw": [10.0, -25.0]}
    assert report["tensorflow"] == {"version": 1, "score": [10.0, -25.0]}

    mixed = report["columns"]
    assert mixed["outputs"]["strings_out"] == {"shape": [2, 2], "values": ["é", "x", "y", "y"]}
    # JSON has no NaN: the gap of row 0 comes out of JavaScript as null.
    assert mixed["outputs"]["numbers_out"] == {"shape": [2, 2], "values": [1.5, None, 2.5, 3.0]}

    assert report["wrong"]["refused"] == "INVALID_ARGUMENT"
    assert "'nope'" in report["wrong"]["detail"]

    stream = report["stream"]
    assert stream["first"]["outputs"] == stream["fourth"]["outputs"] == linear["outputs"]
    assert stream["second"]["outputs"] == mixed["outputs"]
    assert stream["third"] == report["wrong"]
    assert [stream[request_id]["request_id"] for request_id in ("first", "second")] == ["first", "second"]
