"""What changed between two versions, and what of it breaks callers."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane import manifest as m
from skylane.cli import main
from skylane.compare import changes, stability
from skylane.manifest import Candidate, ColumnSpec, Golden, Lineage, Manifest, OutputSpec, TensorSpec, Tolerance
from skylane.profile import Bins, NumberProfile, Profile, TextProfile


def columns(*specs: ColumnSpec) -> dict[str, Any]:
    tensor = TensorSpec(name="numbers", dtype="float32", shape=(None, len(specs)))
    return {"tensors": (tensor,), "columns": specs}


def column(name: str, index: int = 0, missing: str | None = "NaN", dtype: Any = "float32") -> ColumnSpec:
    return ColumnSpec(name=name, dtype=dtype, tensor="numbers", index=index, missing=missing)


def profile(*edges: float, missing: float = 0.0) -> Profile:
    counts = (10,) * (len(edges) - 1)
    number = NumberProfile(bins=Bins(edges=edges, counts=counts), missing=missing)
    return Profile(of="training", rows=100, columns={"a": number}, answered_rows=100)


CANDIDATE = Candidate(
    name="float32",
    bytes=1000,
    worst_difference=1e-7,
    label_flips=0.0,
    metric_drop=0.0,
    latency_us={"1": 10.0},
    chosen=True,
    note="As exported; published.",
)
LINEAGE = Lineage(
    created_at="2026-01-01T00:00:00+00:00",
    estimator="Ridge()",
    pipeline_sha256="1" * 64,
    data_sha256=None,
    code_revision=None,
    libraries={"scikit-learn": "1.8"},
)


def manifest(**changed: Any) -> Manifest:
    fields: dict[str, Any] = {
        "model": "m",
        "version": 1,
        "identity": "0" * 64,
        "task": "regressor",
        **columns(column("a")),
        "outputs": (OutputSpec(name="prediction", dtype="float32", shape=(None, 1), role="prediction"),),
        "tolerance": Tolerance(preset="close", max_difference=1e-3, max_label_flips=0.0),
        "candidates": (CANDIDATE,),
        "metric": 0.9,
        "profile": profile(0.0, 1.0, 2.0, 3.0),
        "lineage": LINEAGE,
        "golden": Golden(inputs={"numbers": [[1.0]]}, outputs={"prediction": [[1.0]]}),
    }
    return Manifest(**(fields | changed))


@pytest.mark.parametrize(
    ("new", "expected", "breaks"),
    [
        pytest.param({"version": 2}, [], False, id="nothing"),
        pytest.param(columns(column("b")), ["column b", "column a"], True, id="a column in place of another"),
        pytest.param(columns(column("a"), column("b", 1)), ["column b"], True, id="one column more"),
        pytest.param(columns(column("a", missing=None)), ["column a"], True, id="gaps are refused now"),
        pytest.param(
            {"outputs": (OutputSpec(name="prediction", dtype="float32", shape=(None, 2)),)},
            ["output prediction"],
            True,
            id="an answer of another shape",
        ),
        pytest.param({"task": "transformer"}, ["task"], True, id="another task"),
        pytest.param(
            {"candidates": (msgspec.structs.replace(CANDIDATE, name="emitted", bytes=500, latency_us={"1": 5.0}),)},
            ["candidate", "size", "µs for 1"],
            False,
            id="a better graph",
        ),
        pytest.param({"metric": 0.8}, ["R²"], False, id="another figure"),
        pytest.param({"profile": profile(5.0, 6.0, 7.0, 8.0)}, ["column a"], False, id="other inputs"),
        pytest.param({"profile": profile(0.0, 1.0, 2.0, 3.0, missing=0.2)}, ["gaps in a"], False, id="more gaps"),
        pytest.param(
            {"lineage": msgspec.structs.replace(LINEAGE, libraries={"scikit-learn": "1.9"})},
            ["scikit-learn"],
            False,
            id="another library",
        ),
    ],
)
def test_changes(new: dict[str, Any], expected: list[str], breaks: bool) -> None:
    found = changes(manifest(), manifest(**new))
    assert [change.what for change in found] == expected
    assert any(change.breaks for change in found) == breaks


def test_what_was_refused_and_is_allowed_breaks_nobody() -> None:
    (found,) = changes(manifest(**columns(column("a", missing=None))), manifest())
    assert (found.what, found.before, found.after) == ("column a", "number, gaps refused", "number, gaps allowed")
    assert not found.breaks


COUNTS = st.lists(st.integers(0, 100), min_size=1, max_size=8).filter(any)


@given(COUNTS, COUNTS)
def test_the_index_is_zero_for_the_same_and_never_negative(before: list[int], after: list[int]) -> None:
    def numbers(counts: list[int]) -> NumberProfile:
        edges = tuple(float(edge) for edge in range(len(counts) + 1))
        return NumberProfile(bins=Bins(edges=edges, counts=tuple(counts)), missing=0.0)

    def texts(counts: list[int]) -> TextProfile:
        named = {str(place): count for place, count in enumerate(counts)}
        return TextProfile(counts=named, other=3, distinct=len(counts), missing=0.0)

    for kind in (numbers, texts):
        assert stability(kind(before), kind(before)) == pytest.approx(0.0, abs=1e-9)
        assert stability(kind(before), kind(after)) >= 0.0
    assert stability(numbers(before), texts(before)) == np.inf


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Versions 1 and 2 of a model, of which the second takes another column; and a model of one version."""
    for name, version, changed in (("m", 1, {}), ("m", 2, columns(column("b"))), ("n", 1, {})):
        directory = tmp_path / name / str(version)
        directory.mkdir(parents=True)
        content = {
            m.MODEL_FILE: b"",
            m.MANIFEST_FILE: m.encode(manifest(model=name, version=version, **changed)),
        }
        for file, written in {**content, m.SUMS_FILE: m.sums_of(content)}.items():
            (directory / file).write_bytes(written)
    return tmp_path


def test_the_command_compares_the_newest_with_the_one_before(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "diff", "m", "--models", str(repository)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "m: version 1 → 2"
    assert "PART WHAT VERSION 1 VERSION 2" in lines
    assert "! interface column b – number, gaps allowed" in lines
    assert lines[-1] == "2 of these may break callers of version 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nope"], "no published version; choose another repository", id="no such model"),
        pytest.param(["n"], "version 1 is the only one", id="one version alone"),
        pytest.param(["m", "7"], "there is no version 7, only 1, 2", id="no such version"),
        pytest.param(["../m"], "is not a valid model name", id="a path"),
    ],
)
def test_nothing_to_compare(
    repository: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "diff", *arguments, "--models", str(repository)]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_version_is_named(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "m/1/manifest.json").write_bytes(b"{}")
    assert main(["models", "diff", "m", "--models", str(repository)]) == 2
    assert "m/1: manifest.json: its SHA-256 is" in capsys.readouterr().err
