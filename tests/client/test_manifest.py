"""manifest.json and SHA256SUMS: written and read back, and refused when they are not what they claim."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane import manifest as manifests
from skylane.manifest import (
    BrokenVersion,
    Candidate,
    ColumnSpec,
    Golden,
    Lineage,
    Manifest,
    OutputSpec,
    TensorSpec,
    Tolerance,
)

TENSORS = (TensorSpec(name="numbers", dtype="float32", shape=(None, 2)),)
COLUMNS = (
    ColumnSpec(name="distance", dtype="float32", tensor="numbers", index=0, missing="NaN"),
    ColumnSpec(name="hour", dtype="float32", tensor="numbers", index=1),
)
OUTPUTS = (OutputSpec(name="label", dtype="string", shape=(None,), role="label"),)


def manifest(**changes: Any) -> Manifest:
    """A whole and valid one, but for the changes."""
    fields: dict[str, Any] = {
        "model": "flights_late",
        "version": 3,
        "identity": "0" * 64,
        "task": "classifier",
        "tensors": TENSORS,
        "columns": COLUMNS,
        "outputs": OUTPUTS,
        "tolerance": Tolerance(preset="close", max_difference=1e-5, max_label_flips=0.0),
        "candidates": (
            Candidate(
                name="as exported",
                bytes=10,
                worst_difference=0.0,
                label_flips=0.0,
                latency_us={"1": 8.5},
                chosen=True,
                note="nothing was changed",
            ),
        ),
        "lineage": Lineage(
            created_at="2026-11-22T23:00:00Z",
            estimator="Pipeline(...)",
            pipeline_sha256="1" * 64,
            data_sha256=None,
            code_revision=None,
            libraries={"scikit-learn": "1.7"},
        ),
        "golden": Golden(inputs={"numbers": [[1.0, None]]}, outputs={"label": ["late"]}),
    }
    return Manifest(**(fields | changes))


NAMES = st.text(min_size=1, max_size=20)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), st.integers(1, 2**53), st.sampled_from(["NaN", "", None]))
def test_what_is_written_is_read_back(names: list[str], version: int, missing: str | None) -> None:
    written = manifest(
        version=version,
        tensors=(TensorSpec(name="x", dtype="string", shape=(None, len(names))),),
        columns=tuple(
            ColumnSpec(name=name, dtype="string", tensor="x", index=index, missing=missing)
            for index, name in enumerate(names)
        ),
    )
    assert manifests.decode(manifests.encode(written)) == written


def changed(**changes: Any) -> bytes:
    """A valid manifest.json with some fields replaced, or left out where the value is None."""
    fields = json.loads(manifests.encode(manifest())) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "Input data was truncated", id="it is empty"),
        pytest.param(b"[]", "Expected `object`, got `array`", id="it is a list"),
        pytest.param(b'{"model": "\xff"}', "manifest.json: ", id="it is not UTF-8"),
        pytest.param(changed()[:-20], "Input data was truncated", id="its end is missing"),
        pytest.param(changed(tensors=None), "missing required field `tensors`", id="a field is missing"),
        pytest.param(changed(tensor=[]), "unknown field `tensor`", id="a field is unknown"),
        pytest.param(changed(schema=2), "`$.schema`", id="it is of a schema to come"),
        pytest.param(changed(version=0), "`$.version`", id="version 0"),
        pytest.param(changed(model="../x"), "'../x' is not a model name", id="its name leads out of its directory"),
        pytest.param(changed(model=""), "`$.model`", id="it has no name"),
        pytest.param(changed(tensors=[]), "`$.tensors`", id="it takes nothing"),
        pytest.param(changed(outputs=[]), "`$.outputs`", id="it gives nothing"),
        pytest.param(
            changed(tensors=[{"name": "x", "dtype": "float32", "shape": [1, 2]}]), "must be null", id="rows are fixed"
        ),
        pytest.param(
            changed(tensors=[{"name": "x", "dtype": "float32", "shape": []}]), "must be null", id="there are no rows"
        ),
        pytest.param(
            changed(tensors=[{"name": "x", "dtype": "complex64", "shape": [None]}]), "`$.tensors[0].dtype`", id="a type"
        ),
        pytest.param(
            changed(columns=[{"name": "a", "dtype": "float32", "tensor": "numbers", "index": 0}]),
            "fill every column of every tensor",
            id="a column of the tensor is filled by none",
        ),
        pytest.param(
            changed(columns=[{"name": n, "dtype": "float32", "tensor": "numbers", "index": 0} for n in "ab"]),
            "exactly once",
            id="a column of the tensor is filled by two",
        ),
        pytest.param(
            changed(columns=[{"name": n, "dtype": "float32", "tensor": "y", "index": i} for i, n in enumerate("ab")]),
            "exactly once",
            id="columns lie in a tensor that is not there",
        ),
        pytest.param(
            changed(
                columns=[{"name": n, "dtype": "string", "tensor": "numbers", "index": i} for i, n in enumerate("ab")]
            ),
            "'a' is string, but its tensor 'numbers' is not",
            id="a column is of another type than its tensor",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used(content: bytes, says: str) -> None:
    with pytest.raises(BrokenVersion) as broken:
        manifests.decode(content)
    assert says in str(broken.value)
    assert str(broken.value).startswith("manifest.json: ")


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        manifest().version = 4  # type: ignore[misc]


def identity(model: str = "a", **changes: Any) -> str:
    parts: dict[str, Any] = {"tensors": TENSORS, "columns": COLUMNS, "outputs": OUTPUTS} | changes
    return manifests.identity_of(model, parts["tensors"], parts["columns"], parts["outputs"])


def test_the_identity_is_of_the_content_and_nothing_else() -> None:
    assert identity() == identity(columns=tuple(msgspec.structs.replace(column) for column in COLUMNS))
    others = [
        identity(model="b"),
        identity(tensors=(msgspec.structs.replace(TENSORS[0], name="y"),)),
        identity(columns=COLUMNS[::-1]),
        identity(columns=(msgspec.structs.replace(COLUMNS[0], missing=None), COLUMNS[1])),
        identity(outputs=(msgspec.structs.replace(OUTPUTS[0], classes=("late",)),)),
    ]
    assert len({identity(), *others}) == len(others) + 1


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version's directory in good order."""
    files = {"model.onnx": b"graph", "manifest.json": b"{}", "notes.txt": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "SHA256SUMS").write_bytes(manifests.sums_of(files))
    return tmp_path


def test_sums_are_those_of_sha256sum() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert manifests.sums_of({"b": b"", "a": b""}) == f"{empty}  a\n{empty}  b\n".encode()


def test_files_in_good_order(version: Path) -> None:
    manifests.verify_files(version)


def _line(name: str) -> str:
    return f"{'0' * 64}  {name}\n"


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        pytest.param("model.onnx", b"grapH", "model.onnx: its SHA-256 is ", id="the graph has another byte"),
        pytest.param("model.onnx", b"", "model.onnx: its SHA-256 is ", id="the graph is empty"),
        pytest.param("model.onnx", None, "model.onnx: cannot be read: No such file", id="the graph is missing"),
        pytest.param("notes.txt", b"x", "notes.txt: its SHA-256 is ", id="another listed file was changed"),
        pytest.param("SHA256SUMS", None, "SHA256SUMS: cannot be read: ", id="the sums are missing"),
        pytest.param("SHA256SUMS", b"", "SHA256SUMS: does not list model.onnx", id="the sums are empty"),
        pytest.param("SHA256SUMS", b"\xff", "SHA256SUMS: cannot be read: ", id="the sums are not text"),
        pytest.param("SHA256SUMS", b"abc  model.onnx\n", "not a line of sha256sum: 'abc", id="a sum is too short"),
        pytest.param(
            "SHA256SUMS", _line("../../etc/passwd").encode(), "not a line of sha256sum", id="a name leads elsewhere"
        ),
        pytest.param(
            "SHA256SUMS", _line("model.onnx").encode(), "does not list manifest.json", id="the manifest is not listed"
        ),
    ],
)
def test_damaged_files_are_named(version: Path, file: str, content: bytes | None, says: str) -> None:
    if content is None:
        (version / file).unlink()
    else:
        (version / file).write_bytes(content)
    with pytest.raises(BrokenVersion) as broken:
        manifests.verify_files(version)
    assert says in str(broken.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"schema": 2}, "it has schema 2.*reads 1: upgrade the server", id="a later schema"),
        pytest.param({"signature": "x"}, "`signature`.*; if a later release of skylane wrote it", id="a later field"),
        pytest.param({"task": "dance"}, r"Invalid enum value 'dance' - at `\$.task`$", id="simply wrong"),
    ],
)
def test_what_to_do_about_a_manifest_of_a_later_release(changes: dict[str, Any], message: str) -> None:
    content = msgspec.json.decode(manifests.encode(manifest())) | changes
    with pytest.raises(BrokenVersion, match=message):
        manifests.decode(msgspec.json.encode(content))


def test_a_manifest_of_the_first_release_is_read() -> None:
    """It has none of the fields that came later."""
    content = msgspec.json.decode(manifests.encode(manifest()))
    for later in ("skipped", "held_out_rows", "metric", "batches", "quantization", "notes", "profile"):
        del content[later]
    for later in ("machine", "loaded", "metrics"):
        del content["lineage"][later]
    for later in ("label_flips_below", "p99_difference", "bad_rows", "metric_drop", "outside"):
        del content["candidates"][0][later]
    del content["tolerance"]["max_metric_drop"]
    assert manifests.decode(msgspec.json.encode(content)) == manifest()
