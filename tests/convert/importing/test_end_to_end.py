"""A Triton repository, imported and served: NVIDIA's clients get what ONNX Runtime answers to the original files."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from skylane.cli import main
from skylane.client import Client
from skylane.onnx_runtime import onnxruntime as ort
from support import graphs
from support.server import serving

SCRIPT = Path(__file__).parent / "triton_calls.py"
CONFIG = 'name: "{name}" backend: "onnxruntime" max_batch_size: 8 dynamic_batching {{ }}'
random = np.random.default_rng(5)
ROWS: dict[str, dict[str, graphs.Array]] = {
    "wine": {"x": random.normal(size=(3, 4)).astype(np.float32)},
    "churn": {
        "id": np.array([[1], [4]], np.int64),
        "weight": np.array([[0.5], [2.0]], np.float32),
        "city": np.array([["Köln"], [""]]),
    },
    "voice": {"steps": random.normal(size=(2, 5, 3)).astype(np.float32)},
    "half": {"x": random.normal(size=(2, 2)).astype(np.float16)},
    "leaving": {"x": random.normal(size=(4, 2)).astype(np.float32)},
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Triton repository, some of its models with a configuration."""
    root = tmp_path / "triton"
    graphs.save(graphs.affine(batch=1), root / "wine/1/model.onnx")
    graphs.save(graphs.two_inputs(), root / "churn/4/model.onnx")
    graphs.save(graphs.pooled(), root / "voice/1/model.onnx")
    graphs.save(graphs.zipmapped(), root / "leaving/1/model.onnx")
    graphs.save(graphs.typed(TensorProto.FLOAT16), root / "half/1/model.onnx")
    for name in ("churn", "voice"):
        (root / name / "config.pbtxt").write_text(CONFIG.format(name=name))
    assert main(["import", str(root), "--models", str(tmp_path / "models")]) == 0
    return root


def expected(repository: Path, model: str) -> dict[str, Any]:
    """What ONNX Runtime answers, row by row, to the file that was imported."""
    (path,) = (repository / model).glob("*/model.onnx")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    arrays = {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in ROWS[model].items()}
    count = len(next(iter(arrays.values())))
    parts = [session.run(None, {name: array[row : row + 1] for name, array in arrays.items()}) for row in range(count)]
    answers_by_name: dict[str, Any] = {}
    for place, name in enumerate(names):
        column = [part[place] for part in parts]
        if isinstance(column[0], list):  # a ZipMap's dictionaries
            answers_by_name[name] = [list(each[0].values()) for each in column]
        else:
            array = np.concatenate(column)
            answers_by_name[name] = array.ravel().tolist() if array.dtype == object else array.tolist()
    return answers_by_name


def test_both_clients_get_what_onnxruntime_answers(repository: Path, tmp_path: Path) -> None:
    rows: Any = {f"{model}/{name}": array for model, arrays in ROWS.items() for name, array in arrays.items()}
    np.savez(tmp_path / "rows.npz", **rows)
    with serving(tmp_path / "models", http_port=0) as server:
        command = [sys.executable, str(SCRIPT), server.address, f"127.0.0.1:{server.http_port}"]
        run = subprocess.run([*command, str(tmp_path / "rows.npz")], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answered = json.loads(run.stdout)
    for model in ROWS:
        for name, values in expected(repository, model).items():
            for client in ("grpc", "http"):
                actual = answered[client][model][name]
                if isinstance(np.ravel(values)[0], str):
                    assert actual == values, (client, model, name)
                else:
                    np.testing.assert_allclose(actual, values, rtol=1e-5, err_msg=f"{client} {model} {name}")


def test_sequences_of_different_lengths_that_come_together_are_all_answered(repository: Path, tmp_path: Path) -> None:
    sequences = [random.normal(size=(1, length, 3)).astype(np.float32) for length in range(1, 17)]
    with (
        serving(tmp_path / "models") as server,
        Client(server.address) as client,
        ThreadPoolExecutor(len(sequences)) as pool,
    ):
        answers = list(pool.map(lambda steps: client.predict("voice", {"steps": steps})["mean"], sequences))
    for steps, answer in zip(sequences, answers, strict=True):
        np.testing.assert_allclose(answer, steps.mean(axis=1), rtol=1e-5, atol=1e-6)


def test_rows_that_depend_on_their_batch_meet_no_rows_of_other_callers(tmp_path: Path) -> None:
    path = graphs.save(graphs.centred(), tmp_path / "centred.onnx")
    assert main(["import", str(path), "--name", "centred", "--no-batching", "--models", str(tmp_path / "models")]) == 0
    requests = [random.normal(loc=10 * place, size=(2, 4)).astype(np.float32) for place in range(32)]
    with serving(tmp_path / "models") as server, Client(server.address) as client:
        answers = list(client.predict_many("centred", [{"x": rows} for rows in requests], window=32))
    for rows, answer in zip(requests, answers, strict=True):
        np.testing.assert_allclose(answer["y"], rows - rows.mean(axis=0), rtol=1e-4, atol=1e-4)
