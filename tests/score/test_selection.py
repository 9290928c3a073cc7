"""Which version scores."""

from pathlib import Path

import pytest

from skylane.score import ScoreError
from skylane.score.selection import select
from support import models


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for version in (1, 2, 10):
        models.linear(root, version=version)
    (root / "linear" / "model.toml").write_text("[versions]\nlatest = 2\nlabels = { stable = 1, gone = 7 }\n")
    models.linear(root, "plain", 3)
    (root / "empty").mkdir()
    models.linear(root, "wrong")
    (root / "wrong" / "model.toml").write_text("[version]\n")
    return root


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        pytest.param("linear", 2, id="the policy's latest"),
        pytest.param("plain", 3, id="the newest, without a policy"),
        pytest.param("linear@10", 10, id="a version"),
        pytest.param("linear/1", 1, id="a version, as in a path"),
        pytest.param("linear:stable", 1, id="a label"),
    ],
)
def test_a_reference_selects_a_version(repository: Path, reference: str, version: int) -> None:
    chosen = select(reference, repository)
    assert (chosen.version, chosen.directory.name) == (version, str(version))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param("", "expected NAME, NAME@VERSION or NAME:LABEL, received ''", id="no name"),
        pytest.param("linear@", "received 'linear@'", id="no version behind the sign"),
        pytest.param("linear@0", "received 'linear@0'", id="versions begin with 1"),
        pytest.param("linear@3", "'linear' has no version 3 in .*: it has 1, 2, 10", id="no such version"),
        pytest.param("linear:new", "'linear' has no label 'new': model.toml has stable, gone", id="no such label"),
        pytest.param("linear:gone", "'linear' has no version 7", id="a label of a version that is gone"),
        pytest.param("liner", "no version of 'liner' in .*: it has linear, plain, wrong", id="no such model"),
        pytest.param("empty", "no version of 'empty'", id="a model without versions"),
        pytest.param("wrong", r"model.toml: .*\[versions\]", id="a policy that cannot be used"),
        pytest.param("../x", "received '../x'", id="a path out of the repository"),
    ],
)
def test_what_selects_nothing_is_explained(repository: Path, reference: str, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        select(reference, repository)
