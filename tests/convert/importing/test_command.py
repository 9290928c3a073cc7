"""`skylane import`: what is imported is found out from the path; exit codes and words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skylane.cli import main
from skylane.manifest import Manifest, decode
from support import graphs

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`skylane import`, into `models` of this test's own directory."""
    return lambda *arguments: main(["import", *map(str, arguments), "--models", str(tmp_path / "models")])


def manifest(tmp_path: Path, name: str, version: int = 1) -> Manifest:
    """Of a published version."""
    return decode((tmp_path / "models" / name / str(version) / "manifest.json").read_bytes())


def test_a_file_is_published_and_its_interface_shown(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = graphs.save(graphs.affine(batch=1), tmp_path / "net.onnx")
    assert command(path, "--name", "net") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert "input x float32 (rows, 4)" in message
    assert "output y float32 (rows, 3)" in message
    assert "verified on 16 random rows: each gets the same answer alone and in a batch" in message
    assert "a run takes 1.0 µs for 1, 64.0 µs for 64 rows" in message
    assert "changed: batch dimension opened: it was fixed to 1" in message
    assert "note: no sample was given: golden rows are random ones" in message
    assert "net: published as version 1 in" in message
    assert command(path, "--name", "net") == 0
    assert "net: unchanged: the same content is already published as version 1" in " ".join(
        capsys.readouterr().out.split()
    )
    assert command(path, "--name", "net", "--version", "9") == 0
    assert manifest(tmp_path, "net", 9).identity == manifest(tmp_path, "net").identity


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_samples_of_every_kind(suffix: str, command: Command, tmp_path: Path) -> None:
    path, sample = graphs.save(graphs.affine(), tmp_path / "net.onnx"), tmp_path / f"rows{suffix}"
    frame = pd.DataFrame(np.arange(80.0).reshape(20, 4), columns=["a", "b", "c", "d"])
    {
        ".npz": lambda: np.savez(sample, x=frame.to_numpy()),
        ".csv": lambda: frame.to_csv(sample, index=False),
        ".parquet": lambda: frame.to_parquet(sample),
    }[suffix]()
    assert command(path, "--name", "net", "--sample", sample) == 0
    made = manifest(tmp_path, "net")
    assert made.golden.inputs["x"][0] == [0.0, 1.0, 2.0, 3.0]
    assert [column.name for column in made.columns] == ([] if suffix == ".npz" else ["a", "b", "c", "d"])


def test_columns_of_a_file_are_inputs_of_their_names(command: Command, tmp_path: Path) -> None:
    path, sample = graphs.save(graphs.two_inputs(), tmp_path / "net.onnx"), tmp_path / "rows.csv"
    sample.write_text("city,weight,other,id\n0017,0.5,x,3\nBern,1.5,x,4\n")
    assert command(path, "--name", "net", "--sample", sample) == 0
    golden = manifest(tmp_path, "net").golden
    assert golden.inputs == {"id": [[3], [4]], "weight": [[0.5], [1.5]], "city": [["0017"], ["Bern"]]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param("a,b\n1,2\n", "the graph takes 4 columns and the sample has 2 (a, b)", id="too few columns"),
        pytest.param("a,b,c,d\n1,2,3,x\n", "input 'x': expected float32: could not convert", id="text for numbers"),
        pytest.param("a,b,c,d\n", "expected the same number of rows, at least 1", id="no rows"),
    ],
)
def test_samples_that_do_not_fit(
    rows: str, message: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, sample = graphs.save(graphs.affine(), tmp_path / "net.onnx"), tmp_path / "rows.csv"
    sample.write_text(rows)
    assert command(path, "--name", "net", "--sample", sample) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_whole_numbers_are_not_cut(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, sample = graphs.save(graphs.two_inputs(), tmp_path / "net.onnx"), tmp_path / "rows.csv"
    sample.write_text("city,weight,id\na,0.5,3.5\nb,1.5,4\n")
    assert command(path, "--name", "net", "--sample", sample) == 2
    assert "input 'id': expected int64, but the sample has values that it cannot represent" in capsys.readouterr().err


def test_rows_that_depend_on_each_other_are_served_one_request_at_a_time(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = graphs.save(graphs.centred(), tmp_path / "net.onnx")
    assert command(path, "--name", "net") == 4
    assert "pass --no-batching to run each request alone" in capsys.readouterr().err
    assert command(path, "--name", "net", "--no-batching") == 0
    assert (tmp_path / "models/net/model.toml").read_text().endswith("[batching]\nmax_batch_rows = 1\n")
    graphs.save(graphs.quantized(), tmp_path / "triton/small/1/model.onnx")
    assert command(tmp_path / "triton", "--allow-dependent-rows") == 0
    assert not (tmp_path / "models/small/model.toml").exists()
    graphs.save(graphs.quantized(), tmp_path / "triton/alone/1/model.onnx")
    assert command(tmp_path / "triton/alone", "--no-batching") == 0
    assert "max_batch_rows = 1" in (tmp_path / "models/alone/model.toml").read_text()


def test_a_repository_is_imported_with_a_summary(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graphs.save(graphs.affine(), tmp_path / "triton/one/1/model.onnx")
    (tmp_path / "triton/one/config.pbtxt").write_text("max_batch_size: 4 model_warmup { }")
    graphs.save(graphs.two_inputs(), tmp_path / "triton/two/3/model.onnx")
    (tmp_path / "triton/engine/1").mkdir(parents=True)
    (tmp_path / "triton/engine/config.pbtxt").write_text('platform: "tensorrt_plan"')
    samples = tmp_path / "samples"
    samples.mkdir()
    np.savez(samples / "one.npz", x=np.arange(8.0).reshape(2, 4))
    assert command(tmp_path / "triton", "--sample", samples) == 4
    message = " ".join(capsys.readouterr().out.split())
    assert "max_batch_size: 4 [batching] max_batch_rows = 4; a larger request is not refused, but runs alone" in message
    assert "model_warmup not kept not needed: every version answers its golden rows" in message
    assert "2 of 3 models imported; not or only partly imported: engine" in message
    kinds = {name: made.imported and made.imported.rows for name, made in
             (("one", manifest(tmp_path, "one")), ("two", manifest(tmp_path, "two", 3)))}  # fmt: skip
    assert kinds == {"one": "sample", "two": "random"}


def test_one_model_of_a_repository_may_get_another_name(command: Command, tmp_path: Path) -> None:
    graphs.save(graphs.affine(), tmp_path / "triton/one/2/model.onnx")
    assert command(tmp_path / "triton/one", "--name", "uno") == 0
    assert manifest(tmp_path, "uno", 2).model == "uno"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["net.onnx"], "--name is required", id="no name"),
        pytest.param(["net.onnx", "--name", "a b"], "'a b' is not a valid model name", id="a name that cannot be"),
        pytest.param(["absent.onnx", "--name", "a"], "absent.onnx: no such file or directory", id="no file"),
        pytest.param(["triton", "--sample", "absent.npz"], "--sample absent.npz: no such file", id="no sample"),
        pytest.param(["triton", "--name", "a"], "--name applies to a single model", id="a name for many models"),
        pytest.param(["triton", "--version", "2"], "--version applies to a single file", id="a number for many models"),
        pytest.param(["m.skops", "--name", "a"], "convert a fitted pipeline with `skylane convert`", id="a pipeline"),
        pytest.param(["m.pt", "--name", "a"], "export a PyTorch model with torch.onnx.export", id="a PyTorch model"),
        pytest.param(["saved"], "python -m tf2onnx.convert --saved-model", id="a TensorFlow model"),
        pytest.param(["empty"], "expected a Triton repository", id="an empty directory"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graphs.save(graphs.affine(), tmp_path / "net.onnx")
    graphs.save(graphs.affine(), tmp_path / "triton/one/1/model.onnx")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").touch()
    (tmp_path / "empty").mkdir()
    for other in ("m.skops", "m.pt"):
        (tmp_path / other).touch()
    assert command(tmp_path / arguments[0], *arguments[1:]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", ["nope", "nope.onnx"])
def test_a_path_that_is_not_there_is_named(path: str, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(path) == 2
    assert capsys.readouterr().err == f"error: {path}: no such file or directory\n"


def test_a_directory_with_a_graph_but_without_versions_says_what_to_import(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat, version = tmp_path / "net", tmp_path / "triton/net/1"
    file = graphs.save(graphs.affine(), flat / "model.onnx")
    graphs.save(graphs.affine(), version / "model.onnx")
    assert command(flat) == 2
    assert f"import the file: `skylane import {file} --name net`" in capsys.readouterr().err
    assert command(version) == 2
    assert f"it is a version: import its model, `skylane import {version.parent}`" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["models", "models/net"])
def test_nothing_is_published_into_the_repository_of_triton_itself(
    path: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graphs.save(graphs.affine(), tmp_path / "models/net/1/model.onnx")
    (tmp_path / "models/net/config.pbtxt").write_text("max_batch_size: 8 dynamic_batching {}")
    assert command(tmp_path / path) == 2
    assert "expected another directory than Triton's own" in capsys.readouterr().err
    assert not (tmp_path / "models/net/model.toml").exists()


def test_a_model_without_a_file_among_the_samples_is_reported(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        graphs.save(graphs.affine(), tmp_path / "triton" / name / "1/model.onnx")
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows/a.npz", x=np.ones((4, 4), np.float32))
    assert command(tmp_path / "triton", "--sample", tmp_path / "rows") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert "expected b.npz, .parquet, .csv or .arrow there, found none" in message
    assert "expected a.npz" not in message


def test_help_shows_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    message = capsys.readouterr().out
    assert "usage: skylane import" in message
    assert max(map(len, message.splitlines())) <= 100
