"""`skylane models copy`: the same content under another name or number."""

from collections.abc import Callable
from pathlib import Path

import pytest

from skylane.cli.diff import main as diff
from skylane.convert.importing.copying import main
from skylane.convert.importing.version import ImportedVersion
from skylane.manifest import Manifest, Origin, decode, verify_files
from skylane.policy import Policy
from skylane.server.repository.verified_loading import load_version
from support import graphs

Copy = Callable[..., int]


@pytest.fixture
def copy(importing: Callable[..., ImportedVersion], tmp_path: Path) -> Copy:
    """The command, in a repository in which `m` has the versions 1 and 2."""
    importing(graphs.affine(scale=1.0))
    importing(graphs.affine(scale=2.0))
    return lambda *arguments: main([*arguments, "--models", str(tmp_path / "models")])


def manifest(tmp_path: Path, name: str, version: int) -> Manifest:
    """Of a version that is whole, and that a server loads."""
    directory = tmp_path / "models" / name / str(version)
    verify_files(directory)
    load_version(directory, name, version, Policy())
    return decode((directory / "manifest.json").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "name", "version", "original"),
    [
        pytest.param(["m/1", "other"], "other", 1, 1, id="a version under another name"),
        pytest.param(["m", "other"], "other", 1, 2, id="the newest one under another name"),
        pytest.param(["m/1", "other", "--version", "7"], "other", 7, 1, id="with a number"),
        pytest.param(["m/1", "m"], "m", 3, 1, id="an old one as the newest again"),
    ],
)
def test_a_copy_is_the_same_but_for_its_name_and_says_whose_it_is(
    arguments: list[str], name: str, version: int, original: int, copy: Copy, tmp_path: Path
) -> None:
    first = manifest(tmp_path, "m", original)
    assert copy(*arguments) == 0
    made = manifest(tmp_path, name, version)
    assert made.identity == first.identity
    assert made.golden == first.golden
    assert (made.lineage.created_at, made.lineage.pipeline_sha256) == (
        first.lineage.created_at,
        first.lineage.pipeline_sha256,
    )
    assert made.lineage.copied_from == (Origin(model="m", version=original, identity=first.identity),)
    assert f"copied from</dt><dd>m version {original}" in (
        tmp_path / "models" / name / str(version) / "card.html"
    ).read_text().replace("\n", "")


def test_a_copy_of_a_copy_names_both(copy: Copy, tmp_path: Path) -> None:
    copy("m/1", "staging")
    copy("staging/1", "production")
    origins = manifest(tmp_path, "production", 1).lineage.copied_from
    assert [(origin.model, origin.version) for origin in origins] == [("m", 1), ("staging", 1)]


def test_the_same_copy_twice_under_a_number_is_one(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy("m/1", "other", "--version", "4") == copy("m/1", "other", "--version", "4") == 0
    assert "unchanged: the same content is already published as other version 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["m/9", "x"], "there is no version 9, only 1, 2", id="a version that is not there"),
        pytest.param(["n", "x"], "no published version", id="a model that is not there"),
        pytest.param(
            ["m/1", "x/5"],
            "'x/5': expected the name of a model, received a name and a version: skylane models copy m/1 x --version 5",
            id="a version of the target",
        ),
        pytest.param(["m/1", "x/new"], "skylane models copy m/1 x --version N", id="a target that is no number"),
        pytest.param(["m/one", "x"], "'m/one': expected a model's name, or name/version", id="no number"),
        pytest.param(["m/1", "a b"], "'a b' is not a valid model name", id="a name that cannot be"),
        pytest.param(["m/1", "m", "--version", "2"], "m version 2 already exists with different content", id="taken"),
    ],
)
def test_what_cannot_be_copied(
    arguments: list[str], message: str, copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_version_is_not_copied(copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "models/m/1/model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(b"x")
    assert copy("m/1", "other") == 2
    assert "model.onnx: its SHA-256 is" in capsys.readouterr().err
    assert not (tmp_path / "models/other").exists()


def test_model_toml_is_not_copied_and_that_is_reported(
    copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models/m/model.toml").write_text("[batching]\ninstances = 2\n")
    assert copy("m/1", "other") == 0
    assert "other has no model.toml, so the defaults apply" in capsys.readouterr().out


def test_the_difference_to_a_copy_is_its_origin(copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy("m/2", "m")
    capsys.readouterr()
    assert diff(["m", "2", "3", "--models", str(tmp_path / "models")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("origin")]
    assert lines == [["origin", "copied", "from", "–", "m", "2"]]
