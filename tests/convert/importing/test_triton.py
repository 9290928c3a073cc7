"""Triton repositories: what is imported under which number, and what is reported of the rest."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from skylane.convert.importing.triton import Import, ModelReport, import_repository, is_model
from skylane.convert.importing.version import ImportedVersion, Source, import_graph
from support import graphs

CONFIG = """\
name: "wine"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] }]
dynamic_batching { max_queue_delay_microseconds: 2000 }
"""


@pytest.fixture
def add(tmp_path: Path) -> Import:
    """Import on random rows."""

    def run(path: Path, name: str, number: int, source: Source, batched: bool) -> ImportedVersion:
        return import_graph(path, name, tmp_path / "models", source, version=number, batched=batched)

    return run


Imported = Callable[[], dict[str, ModelReport]]


@pytest.fixture
def imported(tmp_path: Path, add: Import) -> Imported:
    """Import the repository `triton`; returns what was message of each model."""

    def run() -> dict[str, ModelReport]:
        reports = import_repository(tmp_path / "triton", tmp_path / "models", add)
        return {report.name: report for report in reports}

    return run


def put(path: Path, config: str | None = None, made: onnx.ModelProto | None = None) -> Path:
    """A version at this path, and the model's configuration."""
    graphs.save(made or graphs.affine(), path / "model.onnx")
    if config is not None:
        (path.parent / "config.pbtxt").write_text(config)
    return path


def test_versions_keep_their_numbers_and_the_configuration_becomes_model_toml(
    tmp_path: Path, imported: Imported
) -> None:
    put(tmp_path / "triton/wine/1", CONFIG)
    put(tmp_path / "triton/wine/12", made=graphs.affine(scale=3.0))
    report = imported()["wine"]
    assert [version.version for version in report.versions] == [1, 12]
    assert report.refused == []
    assert report.exit_code == 0
    assert report.versions[0].manifest.imported is not None
    assert report.versions[0].manifest.imported.file == "wine/1/model.onnx"
    assert (tmp_path / "models/wine/model.toml").read_text() == (
        "# Made from config.pbtxt by skylane import.\n[batching]\nmax_batch_rows = 8\nmax_queue_delay_ms = 2\n"
    )


def test_without_a_configuration_the_defaults_hold(tmp_path: Path, imported: Imported) -> None:
    put(tmp_path / "triton/plain/1")
    report = imported()["plain"]
    assert len(report.versions) == 1
    assert not (tmp_path / "models/plain/model.toml").exists()
    assert report.policy == "no model.toml is needed: the defaults hold"


def test_importing_again_changes_nothing(tmp_path: Path, imported: Imported) -> None:
    put(tmp_path / "triton/wine/1", CONFIG)
    imported()
    report = imported()["wine"]
    assert [version.created for version in report.versions] == [False]
    assert report.policy == "model.toml is as it would be written"


def test_a_model_toml_that_is_there_is_left_as_it_is(tmp_path: Path, imported: Imported) -> None:
    put(tmp_path / "triton/wine/1", CONFIG)
    own = tmp_path / "models/wine/model.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[batching]\ninstances = 2\n")
    assert "exists and was left as it is; it would be: " in imported()["wine"].policy
    assert own.read_text() == "[batching]\ninstances = 2\n"


def test_versions_that_triton_does_not_serve_are_not_imported(tmp_path: Path, imported: Imported) -> None:
    for number in (1, 2, 3):
        put(tmp_path / f"triton/wine/{number}", CONFIG + "version_policy { specific { versions: [1, 3] } }")
    assert [version.version for version in imported()["wine"].versions] == [1, 3]


def test_the_file_may_have_another_name_or_be_a_directory_with_weights(tmp_path: Path, imported: Imported) -> None:
    graphs.save(graphs.affine(), tmp_path / "triton/named/1/net.onnx")
    (tmp_path / "triton/named/config.pbtxt").write_text('backend: "onnxruntime" default_model_filename: "net.onnx"')
    graphs.with_weights_beside(tmp_path / "triton/large/1/model.onnx/model.onnx")
    reports = imported()
    assert [len(reports[name].versions) for name in ("named", "large")] == [1, 1]


def test_where_triton_shares_no_batches_rows_may_depend_on_each_other(tmp_path: Path, imported: Imported) -> None:
    put(tmp_path / "triton/alone/1", "max_batch_size: 8", graphs.centred())
    put(tmp_path / "triton/shared/1", "max_batch_size: 8 dynamic_batching { }", graphs.centred())
    reports = imported()
    assert "max_batch_rows = 1\n" in (tmp_path / "models/alone/model.toml").read_text()
    assert reports["shared"].versions == []
    assert "a row's answer depends on the other rows of its batch" in reports["shared"].refused[0]


def file(path: str, content: str = "") -> Callable[[Path], None]:
    """A file in the repository, which holds one sound model besides."""

    def write(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)

    return write


@pytest.mark.parametrize(
    ("write", "model", "message"),
    [
        pytest.param(
            file("engine/config.pbtxt", 'platform: "tensorrt_plan"'),
            "engine",
            "platform 'tensorrt_plan': an engine of TensorRT runs on NVIDIA GPUs only: import the ONNX file",
            id="TensorRT",
        ),
        pytest.param(
            file("torch/config.pbtxt", 'backend: "pytorch"'), "torch", "export it with torch.onnx.export", id="PyTorch"
        ),
        pytest.param(file("py/config.pbtxt", 'backend: "python"'), "py", "a program of its own", id="Python backend"),
        pytest.param(
            file("ens/config.pbtxt", 'platform: "ensemble"'), "ens", "call them one after the other", id="ensemble"
        ),
        pytest.param(file("odd/config.pbtxt", 'backend: "x"'), "odd", "backend 'x': only ONNX", id="any other"),
        pytest.param(
            file("engine/1/model.plan"), "engine", "version 1: model.plan is an engine", id="TensorRT by its file"
        ),
        pytest.param(file("tf/1/model.savedmodel/x"), "tf", "python -m tf2onnx.convert", id="TensorFlow by its file"),
        pytest.param(
            file("tfs/00000123/saved_model.pb"),
            "tfs",
            "tfs/00000123: a version's directory is a number without leading zeros: rename it to tfs/123; besides, it "
            "holds a TensorFlow model",
            id="TensorFlow Serving's numbers",
        ),
        pytest.param(file("zero/0/model.onnx"), "zero", "zero/0: a version's directory", id="version 0"),
        pytest.param(
            file("flat/model.onnx"),
            "flat",
            "flat/model.onnx lies in no version's directory: move it to flat/1/model.onnx, or import the file",
            id="no version's directory",
        ),
        pytest.param(file("none/x"), "none", "it has no version: expected none/<number>/model.onnx", id="no version"),
        pytest.param(file("lone.onnx"), "lone.onnx", "--name lone` imports the file", id="no model's directory"),
        pytest.param(
            file("my model/1/x"), "my model", "its name is not a valid model name", id="a name that cannot be"
        ),
        pytest.param(
            file("bad/config.pbtxt", "name: {"), "bad", "config.pbtxt: 1:8", id="a configuration that is malformed"
        ),
        pytest.param(
            file("bad/config.pbtxt", "max_batch_size: many"),
            "bad",
            "max_batch_size: expected a whole number, received 'many'",
            id="a number that is none",
        ),
        pytest.param(file("empty/1/x"), "empty", "version 1: expected 1/model.onnx, which is not there", id="no file"),
        pytest.param(file("junk/1/model.onnx", "x"), "junk", "not an ONNX file", id="no ONNX file"),
    ],
)
def test_what_is_not_imported_is_reported_and_the_others_are(
    write: Callable[[Path], None], model: str, message: str, tmp_path: Path, imported: Imported
) -> None:
    put(tmp_path / "triton/wine/1", CONFIG)
    write(tmp_path / "triton")
    reports = imported()
    assert message in " ".join(reports[model].refused)
    assert reports[model].exit_code
    assert len(reports["wine"].versions) == 1


def test_one_model_is_distinguished_from_a_repository(tmp_path: Path) -> None:
    put(tmp_path / "triton/wine/1")
    file("tfs/00000123/saved_model.pb")(tmp_path)
    assert is_model(tmp_path / "triton/wine")
    assert is_model(tmp_path / "tfs")
    assert not is_model(tmp_path / "triton")
