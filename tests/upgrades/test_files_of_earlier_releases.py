"""What an earlier release published is served, compared and shown by this one, and what a later one may write is named.

tests/fixtures/<release> holds what that release wrote. docs/upgrading.md says what is promised.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from skylane import manifest as manifests
from skylane.cli import main
from skylane.client import Client
from skylane.convert.publishing.card.__main__ import main as print_card
from skylane.manifest import BrokenVersion, Manifest
from skylane.policy import BadPolicy, Batching, Cache, Policy, Session, Versions
from skylane.policy import decode as decode_policy
from skylane.server.core.settings import Transport
from support.server import serving

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
RELEASES: Final = sorted(path.name for path in FIXTURES.iterdir() if (path / "models").is_dir())
MODEL: Final = "breast_cancer"


@pytest.fixture(params=RELEASES)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a release published."""
    copied: Path = shutil.copytree(FIXTURES / request.param / "models", tmp_path / "models")
    return copied


def manifest_of(repository: Path, version: int) -> Manifest:
    return manifests.decode((repository / MODEL / str(version) / "manifest.json").read_bytes())


def test_every_earlier_release_has_its_files() -> None:
    assert "0.1.0" in RELEASES


def test_the_server_loads_them_and_answers_as_the_release_did(repository: Path, transport: Transport) -> None:
    """By columns and by tensor, each version by number, the pinned one by its label."""
    with serving(repository, transport) as server, Client(server.address) as client:
        requests: list[tuple[int, dict[str, Any]]] = [
            (1, {"label": "stable"}),
            (1, {"version": 1}),
            (2, {"version": 2}),
            (2, {}),
        ]
        for version, which in requests:
            manifest = manifest_of(repository, version)
            rows = np.array(manifest.golden.inputs["features"], np.float32)
            columns = {column.name: rows[:, column.index] for column in manifest.columns}
            for data in (rows, columns):
                prediction = client.predict(MODEL, data, **which)
                assert prediction.version == version
                assert prediction["label"].tolist() == manifest.golden.outputs["label"]
                expected = np.array(manifest.golden.outputs["probabilities"], np.float32)
                np.testing.assert_allclose(prediction["probabilities"], expected, 1e-6)


def test_models_diff_compares_them(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "diff", MODEL, "--models", str(repository)]) == 0
    printed = capsys.readouterr().out
    assert "breast_cancer: version 1 → 2" in printed
    assert "pipeline's file" in printed


def test_the_card_shows_them(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_card([str(repository / MODEL / "1")]) == 0
    page = capsys.readouterr().out
    for expected in ("mean radius", "malignant", "As exported; chosen."):
        assert expected in page


def test_files_and_identity_are_verified(repository: Path) -> None:
    for version in (1, 2):
        directory = repository / MODEL / str(version)
        manifests.verify_files(directory)
        manifest = manifest_of(repository, version)
        graph = (directory / "SHA256SUMS").read_text().split("model.onnx")[0].split()[-1]
        manifests.check_identity(manifest, (directory / "manifest.json").read_bytes(), graph)


def test_the_profile_is_read(repository: Path) -> None:
    profile = manifest_of(repository, 1).profile
    assert profile is not None
    assert (profile.of, profile.rows, profile.labels) == ("training", 426, {"benign": 279, "malignant": 147})
    assert set(profile.columns) == {column.name for column in manifest_of(repository, 1).columns}


def test_every_key_of_0_1_0_is_still_understood_as_it_was() -> None:
    read = decode_policy((FIXTURES / "0.1.0/models" / MODEL / "model.toml").read_bytes())
    assert (read.batching, read.cache, read.session, read.versions) == (
        Batching(
            max_batch_rows=128,
            max_queue_delay_ms=0.5,
            max_queue_rows=4096,
            max_request_rows=2048,
            target_p99_ms=250.0,
            instances=2,
        ),
        Cache(enabled=True, max_mb=16.0, ttl_s=600.0),
        Session(intra_op_threads=2, graph_optimization="extended"),
        Versions(keep=2, pinned=(1,), latest=2, labels={"stable": 1}),
    )
    assert read == Policy(batching=read.batching, cache=read.cache, session=read.session, versions=read.versions), (
        "sections that came later have their defaults"
    )


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        pytest.param("[shadowing]\nshare = 0.1", "'shadowing'", id="a section of a later release"),
        pytest.param("[batching]\nmax_batch_bytes = 1", "[batching]: unknown key 'max_batch_bytes'", id="a key of it"),
    ],
)
def test_a_policy_of_a_later_release_is_refused_with_its_name_and_advice(toml: str, named: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        decode_policy(toml.encode())
    assert named in str(bad.value)
    assert "upgrade the server" in str(bad.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"schema": 2}, "it has schema 2, and this release reads 1", id="a later format"),
        pytest.param({"signature": "x"}, "unknown field `signature`", id="a field of a later release"),
    ],
)
def test_a_manifest_of_a_later_release_is_refused_with_its_name_and_advice(
    repository: Path, changes: dict[str, Any], named: str
) -> None:
    content = json.loads((repository / MODEL / "1/manifest.json").read_bytes()) | changes
    with pytest.raises(BrokenVersion) as broken:
        manifests.decode(json.dumps(content).encode())
    assert named in str(broken.value)
    assert "upgrade the server" in str(broken.value)


@pytest.mark.parametrize("changes", [{"schema": 2}, {"signature": "x"}], ids=["a later format", "a later field"])
def test_a_version_of_a_later_release_leaves_the_others_serving(
    repository: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    directory = repository / MODEL / "3"
    shutil.copytree(repository / MODEL / "2", directory)
    content = json.loads((directory / "manifest.json").read_bytes()) | {"version": 3} | changes
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "SHA256SUMS"}
    files["manifest.json"] = json.dumps(content).encode()
    for name, written in {**files, "SHA256SUMS": manifests.sums_of(files)}.items():
        (directory / name).write_bytes(written)
    rows = np.array(manifest_of(repository, 2).golden.inputs["features"], np.float32)
    with serving(repository) as server, Client(server.address) as client:
        assert client.predict(MODEL, rows).version == 2
    assert "upgrade the server" in caplog.text
