"""Models that MLflow saved, written as files of its format (3.17): neither MLflow nor its packages are needed."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from skylane.convert.errors import ConversionError
from skylane.convert.importing.command import main
from skylane.convert.importing.mlflow import is_mlflow, read_mlflow
from skylane.manifest import Manifest, decode
from support import graphs

NAMES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ROWS = np.random.default_rng(3).normal(size=(12, 4)).round(3)
SPLIT = {"columns": NAMES, "data": ROWS.tolist()}


def save(directory: Path, flavors: dict[str, Any], example: Any = None, names: bool = True) -> Path:
    """An MLmodel file, with its signature and input example."""
    directory.mkdir(parents=True)
    columns = [{"type": "double", "name": name, "required": True} for name in NAMES]
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]
    described: dict[str, Any] = {
        "flavors": {**flavors, "python_function": {"loader_module": "mlflow.onnx", "python_version": "3.11.7"}},
        "mlflow_version": "3.17.2",
        "model_uuid": "463560eb864c45538990972677021d10",
        "model_id": None,
        "signature": {"inputs": json.dumps(columns if names else tensor), "outputs": "[]", "params": None},
        "utc_time_created": "2026-12-01 14:35:57.793295",
    }
    if example is not None:
        described["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": "dataframe"}
        (directory / "input_example.json").write_text(json.dumps(example))
    (directory / "MLmodel").write_text(yaml.safe_dump(described))
    return directory


def onnx_model(directory: Path, example: Any = None, names: bool = True) -> Path:
    """Of the flavor onnx."""
    save(directory, {"onnx": {"data": "model.onnx", "onnx_version": "1.23.2"}}, example, names)
    graphs.save(graphs.affine(), directory / "model.onnx")
    return directory


def sklearn_model(directory: Path, file: str, example: Any = None) -> Path:
    """Of the flavor sklearn; the format follows the file's name."""
    save(directory, {"sklearn": {"pickled_model": file, "sklearn_version": "1.9.1"}}, example)
    estimator = LogisticRegression().fit(ROWS, ROWS[:, 0] > 0)
    if file.endswith(".skops"):
        skops.io.dump(estimator, directory / file)
    else:
        (directory / file).write_bytes(pickle.dumps(estimator))
    return directory


def published(tmp_path: Path) -> Manifest:
    """The manifest of the only version."""
    return decode((tmp_path / "models/iris/1/manifest.json").read_bytes())


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., int]:
    """`skylane import` of a model as `iris`."""

    def run(path: Path, *arguments: str) -> int:
        return main([str(path), "--name", "iris", "--models", str(tmp_path / "models"), *arguments])

    return run


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(SPLIT, id="a split data frame"),
        pytest.param([dict(zip(NAMES, row, strict=True)) for row in ROWS.tolist()], id="records"),
        pytest.param(ROWS.tolist(), id="an array"),
        pytest.param({"inputs": ROWS.tolist()}, id="an array as TensorFlow Serving takes it"),
        pytest.param({"x": ROWS.tolist()}, id="arrays by name"),
        pytest.param({"dataframe_split": SPLIT}, id="as the scoring server takes it"),
    ],
)
def test_an_onnx_flavor_is_imported_with_its_example_and_column_names(
    example: Any, command: Callable[..., int], tmp_path: Path
) -> None:
    assert command(onnx_model(tmp_path / "saved", example)) == 0
    manifest = published(tmp_path)
    assert manifest.imported is not None
    assert (manifest.imported.source, manifest.imported.file, manifest.imported.rows) == (
        "mlflow",
        "model.onnx",
        "sample",
    )
    assert [column.name for column in manifest.columns] == NAMES
    np.testing.assert_allclose(manifest.golden.inputs["x"][0], ROWS[0], rtol=1e-6)
    assert "MLflow model 463560eb864c45538990972677021d10, MLflow 3.17.2" in manifest.notes


def test_without_an_example_rows_are_random_and_names_are_the_signatures(
    command: Callable[..., int], tmp_path: Path
) -> None:
    assert command(onnx_model(tmp_path / "saved")) == 0
    manifest = published(tmp_path)
    assert manifest.imported is not None
    assert manifest.imported.rows == "random"
    assert [column.name for column in manifest.columns] == NAMES


def test_a_signature_of_tensors_names_no_columns(command: Callable[..., int], tmp_path: Path) -> None:
    assert command(onnx_model(tmp_path / "saved", ROWS.tolist(), names=False)) == 0
    assert published(tmp_path).columns == ()


def test_the_mlmodel_file_itself_may_be_named(command: Callable[..., int], tmp_path: Path) -> None:
    directory = onnx_model(tmp_path / "saved", SPLIT)
    assert is_mlflow(directory)
    assert command(directory / "MLmodel") == 0


def test_a_pipeline_in_a_skops_file_is_converted(command: Callable[..., int], tmp_path: Path) -> None:
    assert command(sklearn_model(tmp_path / "saved", "model.skops", ROWS.tolist())) == 0
    manifest = published(tmp_path)
    assert manifest.imported is None
    assert manifest.task == "classifier"
    assert manifest.candidates


def test_a_pickle_runs_only_if_it_is_trusted(
    command: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = sklearn_model(tmp_path / "saved", "model.pkl", ROWS.tolist())
    assert command(directory) == 3
    assert "pass --trust" in capfd.readouterr().err
    assert not (tmp_path / "models/iris").exists()
    assert command(directory, "--trust") == 0
    assert "in a process of its own" in (published(tmp_path).lineage.loaded or "")


def flavors(**named: Any) -> Callable[[Path], Path]:
    """A model with these flavors only."""
    return lambda directory: save(directory, named)


def text(content: str) -> Callable[[Path], Path]:
    """An MLmodel file with this content."""

    def write(directory: Path) -> Path:
        directory.mkdir()
        (directory / "MLmodel").write_text(content)
        return directory

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(
            flavors(pytorch={"model_data": "data"}),
            "the flavors python_function, pytorch, and neither onnx nor sklearn: export it with torch.onnx.export",
            id="PyTorch",
        ),
        pytest.param(flavors(xgboost={"data": "model.ubj"}), "convert.convert_pipeline", id="XGBoost"),
        pytest.param(flavors(), "it is a program of its own", id="a Python function"),
        pytest.param(
            flavors(onnx={"data": "../../model.onnx"}), "'../../model.onnx' leads out of the model's", id="outside"
        ),
        pytest.param(flavors(onnx={}), "flavors.onnx.data: expected the name of a file, received None", id="no file"),
        pytest.param(flavors(onnx={"data": "model.onnx"}), "model.onnx: cannot be read", id="the file is missing"),
        pytest.param(text("a: ["), "not YAML", id="not YAML"),
        pytest.param(text("- a"), "expected a mapping", id="another YAML"),
        pytest.param(text("flavors: 7"), "MLmodel: flavors: expected a mapping", id="no flavors"),
    ],
)
def test_what_cannot_be_imported_is_reported(
    write: Callable[[Path], Path], message: str, command: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert command(write(tmp_path / "saved")) in (2, 4)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("example", ["", "7", '{"a": [[1], [1, 2]]}', "[]"])
def test_an_example_that_cannot_be_used_is_reported(example: str, tmp_path: Path) -> None:
    directory = onnx_model(tmp_path / "saved", SPLIT)
    (directory / "input_example.json").write_text(example)
    with pytest.raises(ConversionError, match=r"input_example\.json: "):
        read_mlflow(directory).sample()


def test_a_pipeline_without_an_example_needs_rows(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = sklearn_model(tmp_path / "saved", "model.skops")
    assert command(directory) == 2
    assert "no input example to verify it with: give sample rows (--sample)" in capsys.readouterr().err
    np.savez(tmp_path / "rows.npz", X=ROWS)
    assert command(directory, "--sample", str(tmp_path / "rows.npz")) == 0
