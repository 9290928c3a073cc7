"""Models as other servers lay them out: refused with the command that imports them, without paths of the machine."""

from pathlib import Path

import pytest

from skylane.manifest import BrokenVersion
from skylane.policy import Policy
from skylane.server.repository.scanner import scan
from skylane.server.repository.verified_loading import load_version


def test_a_bare_graph_is_refused_with_the_command_that_imports_it(tmp_path: Path) -> None:
    (tmp_path / "wine/1").mkdir(parents=True)
    (tmp_path / "wine/1/model.onnx").touch()
    with pytest.raises(BrokenVersion) as refused:
        load_version(tmp_path / "wine/1", "wine", 1, Policy())
    assert str(refused.value) == (
        "manifest.json: there is none, so model.onnx is a plain ONNX file: "
        "make a version of it with `skylane import model.onnx --name wine`"
    )


def test_what_cannot_be_read_is_reported_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "wine/1/SHA256SUMS").mkdir(parents=True)
    with pytest.raises(BrokenVersion) as refused:
        load_version(tmp_path / "wine/1", "wine", 1, Policy())
    assert str(refused.value) == "SHA256SUMS: cannot be read: Is a directory"


def test_a_graph_in_no_versions_directory_is_reported_with_the_command_that_imports_it(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/model.onnx").touch()
    assert scan(tmp_path).misplaced == {
        "flat": "it has a plain ONNX file: make a version of it with "
        f"`skylane import {tmp_path}/flat/model.onnx --name flat --models {tmp_path}`"
    }


def test_an_onnx_file_beside_the_models_is_reported_with_the_command_that_imports_it(tmp_path: Path) -> None:
    (tmp_path / "red wine.onnx").touch()
    command = f"skylane import '{tmp_path}/red wine.onnx' --name red_wine --models {tmp_path}"
    assert scan(tmp_path).misplaced == {"red wine.onnx": f"`{command}` makes a version of a plain ONNX file"}


@pytest.mark.parametrize(
    ("more", "command"),
    [
        pytest.param(
            [], "skylane import {0}/models/wine/1/model.onnx --name wine --models {0}/models", id="a plain ONNX file"
        ),
        pytest.param(
            ["config.pbtxt"], "skylane import {0}/models --models {0}/models-imported", id="a repository of Triton"
        ),
    ],
)
def test_the_log_has_the_whole_command_and_clients_read_no_path(
    more: list[str], command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = tmp_path / "models/wine/1"
    version.mkdir(parents=True)
    (version / "model.onnx").touch()
    for name in more:
        (version.parent / name).touch()
    with pytest.raises(BrokenVersion) as refused:
        load_version(version, "wine", 1, Policy())
    assert str(tmp_path) not in str(refused.value)
    assert caplog.messages == [f"wine/1: `{command.format(tmp_path)}` makes a version of it"]
