"""The laws of publishing: whole or not at all, never changed, never twice, any number at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skylane.convert.errors import BadArgument, Unwritable
from skylane.convert.publishing import store
from skylane.manifest import Golden, Lineage, Manifest, OutputSpec, TensorSpec, Tolerance, decode, verify_files


def manifest(identity: str) -> Manifest:
    return Manifest(
        model="m",
        version=1,
        identity=identity,
        task="regressor",
        tensors=(TensorSpec(name="features", dtype="float32", shape=(None, 1)),),
        outputs=(OutputSpec(name="prediction", dtype="float32", shape=(None, 1)),),
        tolerance=Tolerance(preset="close", max_difference=1e-3, max_label_flips=0.0),
        candidates=(),
        lineage=Lineage(
            created_at="2026-01-01T00:00:00+00:00",
            estimator="Ridge()",
            pipeline_sha256="",
            data_sha256=None,
            code_revision=None,
            libraries={},
        ),
        golden=Golden(inputs={}, outputs={}),
    )


def put(repository: Path, content: str) -> tuple[int, Path, bool]:
    return store.put(repository, content.encode(), manifest(content))


def numbers(repository: Path) -> list[int]:
    return [number for number, _ in store.versions(repository, "m")]


def test_versions_count_up_and_verify(tmp_path: Path) -> None:
    first, second = put(tmp_path, "a"), put(tmp_path, "b")
    assert (first, second) == ((1, tmp_path / "m/1", True), (2, tmp_path / "m/2", True))
    verify_files(tmp_path / "m/2")
    assert decode((tmp_path / "m/2/manifest.json").read_bytes()).version == 2
    assert (tmp_path / "m/2/model.onnx").read_bytes() == b"b"


def test_the_same_content_is_published_once(tmp_path: Path) -> None:
    put(tmp_path, "a")
    put(tmp_path, "b")
    assert put(tmp_path, "a") == (1, tmp_path / "m/1", False)
    assert numbers(tmp_path) == [2, 1]


def test_a_damaged_version_does_not_count_as_published(tmp_path: Path) -> None:
    _, path, _ = put(tmp_path, "a")
    (path / "model.onnx").chmod(0o644)
    (path / "model.onnx").write_bytes(b"rotten")
    assert put(tmp_path, "a") == (2, tmp_path / "m/2", True)


def test_files_of_a_version_are_read_only_and_readable_by_all(tmp_path: Path) -> None:
    _, path, _ = put(tmp_path, "a")
    assert {oct(file.stat().st_mode & 0o777) for file in path.iterdir()} == {"0o444"}
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("step", range(6), ids=lambda step: f"at the {step + 1}. flush or rename")
def test_a_crash_leaves_nothing_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Three files and the folder are flushed, the folder renamed, and its parent flushed: any of them may fail."""
    put(tmp_path, "a")
    calls = iter(range(100))

    def failing(real: object) -> object:
        def call(*arguments: object) -> object:
            if next(calls) == step:
                raise OSError(28, "No space left on device", str(tmp_path))
            return real(*arguments)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        patch.setattr(Path, "rename", failing(Path.rename))
        with pytest.raises(Unwritable, match="No space left"):
            put(tmp_path, "b")
    whole = {1} if step < 5 else {1, 2}  # after the rename the version is published, flushed or not
    assert set(numbers(tmp_path)) == whole
    assert [path.name for path in (tmp_path / "m").iterdir() if path.name.startswith(store.STAGING_PREFIX)] == []
    assert put(tmp_path, "b")[:2] == (2, tmp_path / "m/2")


def test_what_a_killed_publisher_left_is_ignored(tmp_path: Path) -> None:
    put(tmp_path, "a")
    (tmp_path / "m/.staging-left").mkdir()
    assert numbers(tmp_path) == [1]
    assert put(tmp_path, "b")[0] == 2


def test_publishers_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    """Twelve publishers, four contents: four complete versions, and each publisher gets that of its own content."""
    contents = [f"content {index % 4}" for index in range(12)]
    together = threading.Barrier(len(contents))

    def race(content: str) -> tuple[int, Path, bool]:
        together.wait()
        return put(tmp_path, content)

    with ThreadPoolExecutor(len(contents)) as pool:
        done = list(pool.map(race, contents))
    assert numbers(tmp_path) == [4, 3, 2, 1]
    assert sum(created for _, _, created in done) == 4
    for content, (number, path, _) in zip(contents, done, strict=True):
        found = store.read(path)
        assert found is not None
        assert (found.identity, found.version) == (content, number)


@pytest.mark.parametrize("name", ["", "..", "../up", ".hidden", "a/b", "ü", "x" * 101])
def test_a_name_that_is_no_folder_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArgument, match="is not a valid model name"):
        store.versions(tmp_path, name)


def test_a_repository_that_is_a_file_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(Unwritable, match="was not published"):
        put(tmp_path / "models", "a")
